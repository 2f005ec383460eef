"""python -m service.dashboard.app: models, training and the system on :8050, beside the viewer. Research use only.

It shows runs and reports below training.output and the state of the server; nothing of a patient. Without tokens of
its own, it starts in the dev profile alone, on this machine's own address.
"""

import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import dash
import flask
from dash import Input, Output, dcc, html

from service.dashboard import figures
from service.dashboard.sources import FACTS, METRICS, facts_of, files_below, machine, measures, metrics_of
from service.notice import RESEARCH
from service.settings import LOOPBACK, Settings, SettingsError, load_settings
from signals.command_line import Parser
from signals.pages.page import CSS

PORT = 8050
_LOOK_MS = 5000
_EVALUATION = ("confusion", "roc", "reliability", "by_site", "by_model")
_TRAINING = {
    "loss": (("loss", "reconstruction", "contrastive", "kl", "validation_kl"), "Loss", "", False),
    "rate": (("learning_rate",), "Learning rate", "", True),
    "accuracy": (("accuracy", "balanced_accuracy", "validation_accuracy"), "Accuracy", "share", False),
    "speed": (("step_s", "load_s", "forward_s", "backward_s", "update_s"), "Seconds of a step", "s", False),
    "memory": (("peak_rss_mb",), "Memory", "MB", False),
    "cores": (("cpu_cores", "load_average"), "Processor", "cores", False),
}
_CSS = """
main{max-width:1280px}.grid{display:grid;grid-template-columns:repeat(auto-fit,minmax(380px,1fr));gap:14px}
.bar{display:flex;flex-wrap:wrap;gap:10px 24px;align-items:center}.bar a{color:var(--accent)}
button svg,label svg,.choose svg,.dash-dropdown svg{width:15px;height:15px;flex:none}
.js-plotly-plot svg{height:revert;width:revert}label{display:block;margin:10px 0}
.choose{min-width:min(420px,90vw)}.tab--selected{border-top:2px solid var(--accent)!important}
@media (max-width:600px){.grid{grid-template-columns:minmax(0,1fr)}}
"""


def new_dashboard(settings: Settings) -> dash.Dash:
    """Return the application."""
    runs, api = settings.training.output, f"http://{settings.deployment.host}:{settings.deployment.port}"
    app = dash.Dash("cerebeam", title="Cerebeam", update_title="", assets_folder="", suppress_callback_exceptions=True)
    app.index_string = _page()
    app.layout = _layout(api)
    app.server.add_url_rule("/app", "viewer", lambda: flask.redirect(f"{api}/app"))
    app.server.add_url_rule("/ready", "ready", lambda: "ready")
    _add_choices(app, runs)
    _add_charts(app, runs)
    _add_system(app, api)
    return app


def _page() -> str:
    return (
        '<!DOCTYPE html><html lang="en"><head>{%metas%}<meta name="viewport" content="width=device-width">'
        f"<title>{{%title%}}</title><style>{CSS}{_CSS}</style>{{%css%}}</head>"
        "<body>{%app_entry%}<footer>{%config%}{%scripts%}{%renderer%}</footer></body></html>"
    )


def _layout(api: str) -> html.Main:
    return html.Main([
        html.H1("Cerebeam: models and system"),
        html.Div([html.P(RESEARCH, className="use"), html.A("Viewer", href="/app"), html.A("API", href=f"{api}/docs")],
                 className="bar"),
        dcc.Tabs(value="training", children=[
            dcc.Tab(label="Training", value="training", children=[
                html.Label(["Run ", dcc.Dropdown(id="run", clearable=False, className="choose")]),
                html.P(id="run-state", className="note"), _graphs(_TRAINING),
            ]),
            dcc.Tab(label="Evaluation", value="evaluation", children=[
                html.Label(["Report ", dcc.Dropdown(id="report", clearable=False, className="choose")]),
                _graphs(_EVALUATION),
            ]),
            dcc.Tab(label="System", value="system", children=[html.Div(id="system")]),
        ]),
        dcc.Interval(id="tick", interval=_LOOK_MS),
    ])  # fmt: skip


def _graphs(names: Any) -> html.Div:
    return html.Div([dcc.Graph(id=name, config={"displaylogo": False}) for name in names], className="grid")


def _add_choices(app: dash.Dash, runs: Path) -> None:
    for target, name in (("run", METRICS), ("report", FACTS)):

        @app.callback(
            Output(target, "options"), Output(target, "value"), Input("tick", "n_intervals"), Input(target, "value")
        )
        def choices(_: int, chosen: str | None, name: str = name) -> tuple[Any, Any]:
            found = files_below(runs, name)
            if chosen in found:  # a value that is written again would draw every chart again
                return found, dash.no_update
            return found, next(iter(found), None)


def _add_charts(app: dash.Dash, runs: Path) -> None:
    @app.callback(
        *(Output(name, "figure") for name in _TRAINING), Output("run-state", "children"), Input("tick", "n_intervals"),
        Input("run", "value"),
    )  # fmt: skip
    def training(_: int, run: str | None) -> list[Any]:
        rows = metrics_of(runs, run or "") if run else []
        words = f"Step {rows[-1].get('step', '?')}, loss {rows[-1].get('loss', float('nan')):.4f}" if rows else \
            f"No run below {runs} yet."  # fmt: skip
        return [*(figures.course(rows, a, b, c, log=log) for a, b, c, log in _TRAINING.values()), words]

    @app.callback([Output(name, "figure") for name in _EVALUATION], Input("report", "value"))
    def evaluation(report: str | None) -> list[Any]:
        facts = facts_of(runs, report or "") if report else {}
        return [getattr(figures, name)(facts) for name in _EVALUATION]


def _add_system(app: dash.Dash, api: str) -> None:
    @app.callback(Output("system", "children"), Input("tick", "n_intervals"))
    def system(_: int) -> list[Any]:
        here, seen = machine(), measures(api)
        rows = [
            ("Processor", f"{here.load:.1f} busy of {here.n_cores} cores"),
            ("Memory", f"{here.memory_mb - here.free_mb:,.0f} of {here.memory_mb:,.0f} MB in use"),
            ("Server", f"answers at {api}" if seen else f"does not answer at {api}"),
        ]
        rows += [
            (name.removeprefix("cerebeam_").replace("_", " ") + (f" {labels}" if labels else ""), f"{value:g}")
            for (name, labels), value in seen.items()
            if name.startswith("cerebeam") and "bucket" not in name and "created" not in name
        ]
        cells = [html.Tr([html.Td(name), html.Td(value)]) for name, value in rows]
        return [html.Table(html.Tbody(cells), className="kv")]


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until the process is ended; returns 2 with one line for a profile that it does not serve."""
    parser = Parser(prog="service.dashboard.app", description=__doc__)
    parser.add_argument("--config", type=Path, help="YAML file of five sections")
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE", help="any key")
    parser.add_argument("--port", type=int, default=PORT)
    args = parser.parse_args(argv)
    try:
        settings = load_settings(args.config, args.set)
        if settings.deployment.profile != "dev" or settings.deployment.host not in LOOPBACK:
            raise SettingsError("the dashboard asks for no token: it runs in the dev profile alone")
    except SettingsError as error:
        print(f"service.dashboard.app: {error}", file=sys.stderr)  # noqa: T201
        return 2
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # a line for each look is no news
    new_dashboard(settings).run(host=settings.deployment.host, port=args.port, debug=False)
    return 0


if __name__ == "__main__":
    sys.exit(main())
