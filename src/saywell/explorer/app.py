"""The explorer's pages: an address, the tables it asks, the template it fills."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from http import HTTPStatus
from importlib.resources import files
from typing import Any
from urllib.parse import urlencode

from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException as StarletteError
from starlette.types import ASGIApp

from saywell.errors import SaywellError
from saywell.explorer import export, sentences, units
from saywell.explorer.compare import agreement, best_matches
from saywell.explorer.filters import Filters
from saywell.explorer.pages import address, environment, pager
from saywell.explorer.security import Door, Guard
from saywell.explorer.shelf import Opened
from saywell.explorer.together import Busy
from saywell.exports import tables as exports
from saywell.report.card import read_units

_REPORT, _OWN = files("saywell.report") / "assets", files("saywell.explorer") / "static"
STATIC = {
    **{
        name: (_REPORT / name, kind)
        for name, kind in (
            ("page.css", "text/css"),
            ("units.css", "text/css"),
            ("cards.css", "text/css"),
            ("drawings.css", "text/css"),
            ("best.css", "text/css"),
            ("hypotheses.css", "text/css"),
            ("page.js", "text/javascript"),
        )
    },
    **{
        name: (_OWN / name, kind)
        for name, kind in (
            ("explorer.css", "text/css"),
            ("explorer.js", "text/javascript"),
            ("icon.svg", "image/svg+xml"),
        )
    },
}
"""Files by the name in the address; no other can be asked for."""
FORMS = {
    "csv": ("text/csv; charset=utf-8", exports.as_csv),
    "parquet": ("application/vnd.apache.parquet", exports.as_parquet),
    "jsonl": ("application/x-ndjson", exports.as_jsonl),
}


def build_app(shelf: Sequence[Opened], door: Door) -> ASGIApp:
    """The explorer of some opened studies, behind its door."""
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False)
    jinja = environment()
    by_number = {str(one.number): one for one in shelf}

    def page(template: str, code: int = 200, **values: Any) -> HTMLResponse:
        values.setdefault("here", None)
        html = jinja.get_template(template).render(
            shelf=shelf, secret=door.secret, tab=template.removesuffix(".html"), **values
        )
        return HTMLResponse(html.encode("utf-8", "replace"), status_code=code)

    def opened(number: str) -> Opened:
        if number not in by_number:
            raise HTTPException(404, f"There is no study {number!r} here.")
        return by_number[number]

    async def checked_form(request: Request) -> AsyncIterator[FormData]:
        async with request.form(max_files=1, max_fields=12, max_part_size=2**20) as form:
            if not door.has_secret(form.get("secret")):
                raise HTTPException(
                    403, "This form is not from a page of this server. Load the page again and repeat."
                )
            yield form

    @app.exception_handler(SaywellError)
    def wrong(request: Request, error: SaywellError) -> Response:
        return page("error.html", 400, words=str(error), title="That cannot be done")

    @app.exception_handler(StarletteError)
    def missing(request: Request, error: StarletteError) -> Response:
        words = error.detail
        if words in {status.phrase for status in HTTPStatus}:
            words = "There is no such page."
        return page(
            "error.html",
            error.status_code,
            words=words,
            title="Not here" if error.status_code == 404 else "That cannot be done",
        )

    @app.get("/")
    def home() -> Response:
        if len(shelf) == 1:
            return RedirectResponse(shelf[0].front, status_code=303)
        return page("studies.html", title="Studies")

    @app.get("/static/{name}")
    def static(name: str) -> Response:
        if name not in STATIC:
            raise HTTPException(404, "There is no such file.")
        file, kind = STATIC[name]
        return Response(file.read_bytes(), media_type=kind, headers={"cache-control": "max-age=600"})

    @app.get("/compare")
    def compare(request: Request, a: str = "1", b: str = "2") -> Response:
        one, two = opened(a), opened(b)
        filters = Filters.of(request.query_params)
        found = agreement(one.tables, two.tables)
        alike = request.query_params.get("alike", "least")
        table = found.table.reverse() if alike == "most" else found.table
        start = (filters.number - 1) * units.PAGE
        rows = table.slice(start, units.PAGE).to_dicts()
        matches = None
        if one.tables.has("exemplars") and two.tables.has("exemplars"):
            listed = units.find_units(one.tables, Filters(verdict="verified", page=filters.page), {})
            lines = {row["id"]: row for row in listed.rows}
            matches = (lines, best_matches(one.tables, two.tables, list(lines)))
        paging = pager(filters, found.table.height, units.PAGE)
        carried = {"a": a, "b": b, "alike": alike}
        for side, step in (("before", -1), ("after", 1)):
            if paging[side]:
                paging[side] = "?" + urlencode({**carried, "page": paging["page"] + step})
        return page(
            "compare.html",
            title="Comparison",
            one=one,
            two=two,
            found=found,
            rows=rows,
            alike=alike,
            matches=matches,
            paging=paging,
        )

    @app.get("/{number}/")
    def study(request: Request, number: str) -> Response:
        here = opened(number)
        filters = Filters.of(request.query_params)
        judged = here.verdicts.latest()
        people = {item: verdict.action for item, verdict in judged.items()}
        found = units.find_units(here.tables, filters, people)
        return page(
            "units.html",
            title=f"Units of {here.about}",
            here=here,
            filters=filters,
            rows=found.rows,
            paging=pager(filters, found.total, units.PAGE),
            cards=read_units(here.listed, [row["id"] for row in found.rows], examples=units.SHOWN),
            judged=judged,
        )

    @app.get("/{number}/unit")
    def unit(number: str, id: str = "") -> Response:
        here = opened(number)
        row = units.unit_row(here.tables, id)
        if row is None:
            raise HTTPException(404, f"The study has no unit {id[:100]!r}.")
        near = units.units_at(here.tables, [row["no"] - 1, row["no"] + 1])
        return page(
            "unit.html",
            title=f"Unit {id}",
            here=here,
            row=row,
            card=read_units(here.tables, [id], examples=units.MOST_EXAMPLES)[id],
            scores=units.unit_rows(here.tables, "scores", id),
            other=units.other_side(here.tables, row),
            before=near.get(row["no"] - 1),
            after=near.get(row["no"] + 1),
            history=here.verdicts.history(id),
            judged=here.verdicts.latest(),
        )

    @app.get("/{number}/class")
    def class_(number: str, name: str = "") -> Response:
        """Where classes used to be."""
        return RedirectResponse(address(f"/{opened(number).number}/unit", id=name), status_code=301)

    @app.get("/{number}/text")
    def text(number: str, id: str = "") -> Response:
        here = opened(number)
        row = sentences.text_row(here.tables, id)
        if row is None:
            raise HTTPException(404, f"The study has no text {id[:100]!r}.")
        return page(
            "text.html",
            title=f"A text of {row['class']}",
            here=here,
            row=row,
            history=here.verdicts.history(id),
        )

    @app.get("/{number}/results")
    def results(number: str) -> Response:
        here = opened(number)
        tables = {name: sentences.results(here.tables, name) for name in ("zero_shot", "transfer_summary")}
        if not any(tables.values()):
            raise HTTPException(404, "The study has no such tables.")
        return page("results.html", title="Zero-shot and transfer", here=here, tables=tables)

    @app.get("/{number}/hypotheses")
    def hypotheses(request: Request, number: str) -> Response:
        here = opened(number)
        if not here.tables.has("hypotheses"):
            raise HTTPException(404, "The study puts no hypotheses to the test.")
        sought = Filters.of(request.query_params).q
        return page("hypotheses.html", title=here.asks, here=here, sought=sought)

    @app.get("/{number}/image")
    def image(number: str, example: str = "") -> Response:
        jpeg = sentences.stored_thumbnail(opened(number).tables, example)
        if jpeg is None:
            raise HTTPException(404, "The study keeps no picture of this example.")
        return Response(jpeg, media_type="image/jpeg", headers={"cache-control": "max-age=600"})

    def asked(
        here: Opened, code: int = 200, how: str = "read", sentence: str = "", **answer: Any
    ) -> Response:
        values = {"found": None, "seen": None, "problem": "", **answer}
        return page("ask.html", code, title="Ask", here=here, how=how, sentence=sentence[:4000], **values)

    @app.get("/{number}/ask")
    def ask(number: str) -> Response:
        return asked(opened(number))

    @app.post("/{number}/ask")
    async def answer(number: str, form: FormData = Depends(checked_form)) -> Response:  # noqa: B008
        """Waits without holding a thread, so that pages are read while questions are answered."""
        here = opened(number)
        sentence, how = str(form.get("sentence") or ""), str(form.get("how") or "read")
        picture = form.get("image")
        try:
            if isinstance(picture, UploadFile) and picture.filename:
                seen = await asyncio.wrap_future(here.probe.look(await picture.read()))
                return asked(here, how=how, seen=seen)
            found = await asyncio.wrap_future(here.probe.ask(how, sentence))
        except Busy as error:
            return asked(here, 503, how, sentence, problem=str(error))
        except SaywellError as error:
            return asked(here, 400, how, sentence, problem=str(error))
        return asked(here, how=how, sentence=sentence, found=found)

    @app.post("/{number}/verdict")
    def verdict(number: str, form: FormData = Depends(checked_form)) -> Response:  # noqa: B008
        here, item = opened(number), str(form.get("item") or "")
        row, place = units.unit_row(here.tables, item), "unit"
        if row is None:
            row, place = sentences.text_row(here.tables, item), "text"
        if row is None:
            raise HTTPException(404, f"The study has no unit or text {item[:100]!r}.")
        here.verdicts.add(
            item,
            str(form.get("action") or ""),
            name=str(form.get("name") or ""),
            machine_text=row["text"] or "",
            description=row.get("description"),
            text=str(form.get("text") or ""),
            note=str(form.get("note") or ""),
        )
        back = address(f"/{number}/{place}", id=item)
        return RedirectResponse(back + "#person", status_code=303)

    @app.get("/{number}/export")
    def export_page(request: Request, number: str) -> Response:
        here = opened(number)
        filters = Filters.of(request.query_params)
        return page("export.html", title="Export", here=here, filters=filters)

    @app.get("/{number}/export/{form}")
    def download(request: Request, number: str, form: str) -> Response:
        here = opened(number)
        latest = here.verdicts.latest()
        if here.tables.has("class_texts"):
            table = sentences.every_text(here.tables)
        else:
            filters = Filters.of(request.query_params)
            table = units.every_unit(here.tables, filters, here.people()).drop("no", "hay", "scored")
        table = export.with_verdicts(table, latest)
        if form == "neuronpedia" and here.placed:
            return _file("neuronpedia.zip", "application/zip", export.as_neuronpedia(table, here.about))
        if form not in FORMS:
            raise HTTPException(404, f"There is no export {form[:40]!r}.")
        kind, write = FORMS[form]
        return _file(f"descriptions.{form}", kind, write(table))

    return Guard(app, door)


def _file(name: str, kind: str, data: bytes) -> Response:
    return Response(data, media_type=kind, headers={"content-disposition": f'attachment; filename="{name}"'})
