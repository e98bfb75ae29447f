(() => {
  const table = document.getElementById("unit-table");
  const filters = document.getElementById("filters");
  const said = document.getElementById("shown");
  const search = document.getElementById("f-search");
  const choices = [...filters.querySelectorAll("[data-filter]")];
  const bodies = [...table.tBodies];
  const words = new Map();
  const more = document.getElementById("more");
  const PAGE = 50;
  let most = PAGE;
  const numeric = new Set(["layer", "score", "interval", "skill"]);

  const wordsOf = body => {
    if (!words.has(body)) words.set(body, body.textContent.toLowerCase());
    return words.get(body);
  };
  const show = () => {
    const wanted = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    let found = 0;
    for (const body of bodies) {
      const keeps = choices.every(c => !c.value || body.dataset[c.dataset.filter] === c.value)
        && (!wanted.length || wanted.every(word => wordsOf(body).includes(word)));
      found += keeps;
      body.hidden = !keeps || found > most;
    }
    const shown = Math.min(found, most);
    said.textContent = found === bodies.length ? `${shown} of ${found} units shown`
      : `${shown} shown of ${found} that match, of ${bodies.length} units`;
    more.hidden = found <= most;
    more.textContent = `Show ${Math.min(PAGE, found - most)} more of ${found - most}`;
  };
  const filter = () => { most = PAGE; show(); };
  const natural = new Intl.Collator("en", { numeric: true });
  const compare = (name, falling) => (a, b) => {
    const x = a.dataset[name], y = b.dataset[name];
    if (x === y) return 0;
    if (x === "" || y === "") return x === "" ? 1 : -1;
    const order = numeric.has(name) ? x - y : natural.compare(x, y);
    return falling ? -order : order;
  };
  const sort = head => {
    const first = numeric.has(head.dataset.sort) && head.dataset.sort !== "layer" ? "descending" : "ascending";
    const other = first === "ascending" ? "descending" : "ascending";
    const next = head.getAttribute("aria-sort") === first ? other : first;
    for (const h of table.tHead.rows[0].cells) h.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", next);
    bodies.sort(compare(head.dataset.sort, next === "descending"));
    table.append(...bodies);
    show();
  };
  for (const head of table.tHead.rows[0].cells) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = head.textContent;
    head.replaceChildren(button);
    button.addEventListener("click", () => sort(head));
  }
  const follow = () => {
    const body = document.getElementById(location.hash.slice(1));
    if (!body || !bodies.includes(body)) return;
    body.hidden = false;
    body.querySelector("details").open = true;
    body.scrollIntoView({ block: "center" });
  };
  more.addEventListener("click", () => {
    const next = bodies.filter(body => !body.hidden).length;
    most += PAGE;
    show();
    bodies.filter(body => !body.hidden)[next]?.querySelector("summary").focus();
  });
  search.addEventListener("input", filter);
  for (const choice of choices) choice.addEventListener("change", filter);
  addEventListener("hashchange", follow);
  filters.hidden = false;
  filter();
  follow();
})();
