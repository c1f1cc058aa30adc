"""`duoscene …`: one thin function a command. What a command needs is imported when it runs, so that --help is quick.

A mistake of the caller or of the surroundings is one line on stderr and exit code 2; only a fault of ours has a traceback.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperGroup

from app.console import show_error
from app.errors import DuosceneError

if TYPE_CHECKING:
    from app.settings import Settings


class OneLineErrors(TyperGroup):
    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except DuosceneError as error:
            show_error(error.detail)
            raise typer.Exit(2) from error


app = typer.Typer(cls=OneLineErrors, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False,
                  help="Self-hosted, online, multi-scenario recommendations for storefronts.")  # fmt: skip


@app.callback()
def main() -> None: ...


def settings_with(**options: object) -> Settings:
    """Settings of the environment and of the options given; both are checked alike."""
    from app.settings import load_settings

    return load_settings(**{name: value for name, value in options.items() if value is not None})


if __name__ == "__main__":
    app()
