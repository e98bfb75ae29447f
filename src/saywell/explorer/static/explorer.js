// Pages work without this: it sends a form when a choice is made, and remembers a reader's name here.
(() => {
  for (const form of document.querySelectorAll("form[data-send]")) {
    form.addEventListener("submit", () => {
      for (const field of form.elements) if (field.name && !field.value) field.disabled = true;
    });
    for (const choice of form.querySelectorAll("select")) {
      choice.addEventListener("change", () => form.requestSubmit());
    }
  }
  addEventListener("pageshow", () => {
    for (const field of document.querySelectorAll("form[data-send] :disabled")) field.disabled = false;
  });
  for (const field of document.querySelectorAll("[data-keep]")) {
    try {
      field.value ||= localStorage.getItem(field.dataset.keep) ?? "";
      field.form.addEventListener("submit", () => localStorage.setItem(field.dataset.keep, field.value));
    } catch { /* storage may be closed */ }
  }
  for (const drop of document.querySelectorAll(".drop")) {
    const file = drop.querySelector("input[type=file]");
    const over = on => event => { event.preventDefault(); drop.classList.toggle("over", on); };
    drop.addEventListener("dragover", over(true));
    drop.addEventListener("dragleave", over(false));
    drop.addEventListener("drop", event => {
      over(false)(event);
      if (event.dataTransfer.files.length) file.files = event.dataTransfer.files;
    });
  }
})();
