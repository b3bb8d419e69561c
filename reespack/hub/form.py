"""The page on which a user chooses: one radio button to an environment, and no script.

Colours are Bootstrap's variables, which JupyterHub sets for light and dark; nothing is fetched.
"""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from reespack.hub.choice import OPTION

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from reespack.hub.cards import Card

__all__ = ["render_form"]

_UNITS = ((1 << 30, "GB", 1), (1 << 20, "MB", 0), (1 << 10, "kB", 0))
_RESOURCES = {
    "nprocs": "{} cores",
    "memory": "{} memory",
    "ngpus": "{} GPUs",
    "runtime": "up to {}",
    "partition": "{}",
}

_STYLE = """\
.rp{border:0;margin:0;padding:0;min-width:0}
.rp-heading{float:none;width:auto;font-size:1.25rem;font-weight:600;margin:0 0 .75rem;padding:0}
.rp-list{display:grid;gap:.75rem;grid-template-columns:repeat(auto-fill,minmax(min(100%,19rem),1fr))}
.rp-card{position:relative;display:flex;gap:.75rem;margin:0;padding:1rem 1.1rem;cursor:pointer;
 color:var(--bs-body-color,#212529);background:var(--bs-body-bg,#fff);
 border:1px solid var(--bs-border-color,#ced4da);border-radius:.6rem;
 transition:border-color .12s,box-shadow .12s}
.rp-card:hover{border-color:var(--rp-accent)}
.rp-card:has(:checked){border-color:var(--rp-accent);box-shadow:inset 0 0 0 1px var(--rp-accent);
 background:color-mix(in srgb,var(--rp-accent) 7%,var(--bs-body-bg,#fff))}
.rp-card:focus-within{outline:3px solid var(--rp-accent);outline-offset:2px}
.rp-card:has(:disabled){cursor:not-allowed;border-style:dashed;opacity:.75}
.rp-card input{flex:none;width:1.15rem;height:1.15rem;margin:.2rem 0 0;
 accent-color:var(--rp-accent)}
.rp-card input:focus{outline:none}
.rp-body{flex:1;min-width:0;display:flex;flex-direction:column;gap:.35rem}
.rp-title{font-size:1.05rem;font-weight:600;line-height:1.35;overflow-wrap:anywhere}
.rp-text{overflow-wrap:anywhere;line-height:1.45}
.rp-facts{display:flex;flex-wrap:wrap;gap:.15rem .9rem;margin:auto 0 0;padding:.3rem 0 0;
 font-size:.875rem;color:var(--bs-secondary-color,#5c636a)}
.rp-facts .rp-language{color:var(--bs-body-color,#212529);font-weight:500}
.rp-note,.rp-problem{padding:.75rem 1rem;border-radius:.6rem;margin:0 0 1rem}
.rp-note{border:1px solid var(--bs-border-color,#ced4da)}
.rp-problem{border:1px solid var(--bs-warning-border-subtle,#ffe69c);overflow-wrap:anywhere;
 background:var(--bs-warning-bg-subtle,#fff3cd);color:var(--bs-warning-text-emphasis,#664d03)}
.rp-root{--rp-accent:#c2570c}
[data-bs-theme=dark] .rp-root{--rp-accent:#f79a4b}
@media (prefers-reduced-motion:reduce){.rp-card{transition:none}}
@media (forced-colors:active){.rp-card:has(:checked){border-width:3px}}
"""


def render_form(
    cards: Sequence[Card], *, title: str = "", chosen: str | None = None, problem: str | None = None
) -> str:
    """Return the inside of JupyterHub's form.

    `chosen` is checked beforehand; `problem`, why the catalog cannot be read, is for admins only,
    and the caller's business to give or not.
    """
    parts = [f"<style>{_STYLE}</style>", '<div class="rp-root">']
    if problem:
        parts.append(
            '<p class="rp-problem" role="alert"><strong>For administrators:</strong> the catalog'
            " cannot be used as it is now, and what follows is the last good one."
            f" {escape(problem)}</p>"
        )
    usable = [card.entry.name for card in cards if card.state != "missing"]
    if not cards:
        parts.append(
            '<p class="rp-note">There is no environment that you may use yet.'
            " Ask your site's help desk.</p>"
        )
    else:
        checked = chosen if chosen in usable else next(iter(usable), None)
        parts.append(
            f'<fieldset class="rp"><legend class="rp-heading">{escape(title or _HEADING)}</legend>'
            '<div class="rp-list">'
        )
        parts += [_card(card, checked=card.entry.name == checked) for card in cards]
        parts.append("</div></fieldset>")
    return "\n".join([*parts, "</div>"])


_HEADING = "Choose an environment"


def _card(card: Card, *, checked: bool) -> str:
    name = escape(card.entry.name)
    text = escape(card.entry.description)
    state = " checked" if checked else ""
    state += " disabled" if card.state == "missing" else " required"
    described = f"rp-{name}-text rp-{name}-facts" if text else f"rp-{name}-facts"
    return (
        '<label class="rp-card">'
        f'<input type="radio" name="{OPTION}" value="{name}"{state}'
        f' aria-labelledby="rp-{name}-title" aria-describedby="{described}">'
        '<span class="rp-body">'
        f'<span class="rp-title" id="rp-{name}-title">{escape(card.entry.title)}</span>'
        + (f'<span class="rp-text" id="rp-{name}-text">{text}</span>' if text else "")
        + f'<span class="rp-facts" id="rp-{name}-facts">{_facts(card)}</span>'
        "</span></label>"
    )


def _facts(card: Card) -> str:
    facts = [f'<span class="rp-language">{escape(one)}</span>' for one in card.languages]
    facts += [f"<span>{escape(one)}</span>" for one in _plain_facts(card)]
    return " ".join(facts)


def _plain_facts(card: Card) -> Iterable[str]:
    if card.state == "missing":
        yield "not available at the moment"
    if card.state == "unbuilt":
        yield "is built when it is first used, which takes some minutes"
    if card.size is not None:
        yield _size(card.size)
    if card.built:
        yield f"built {card.built}"
    resources = dict(card.entry.resources)
    for name, words in _RESOURCES.items():
        if name in resources:
            one = resources[name] == "1" and words.endswith("s")
            yield (words[:-1] if one else words).format(resources[name])


def _size(amount: int) -> str:
    for unit, name, digits in _UNITS:
        if amount >= unit:
            return f"{amount / unit:.{digits}f} {name}"
    return f"{amount} bytes"
