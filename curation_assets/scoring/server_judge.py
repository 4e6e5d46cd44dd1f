"""Ask-LLM with a judge behind a server: any OpenAI-compatible one that tells the log-probabilities of the first token of an answer.

vLLM, llama.cpp and TGI do. The server puts the prompt into its model's chat template and cuts it into tokens. A document that talks to the
judge is neutralised and judged twice as by `AskLLM`, so that no control string of a chat template is left in it.
"""

from __future__ import annotations

import json
import math
import os
import re
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from curation_assets.common.batching import Flat
from curation_assets.common.progress import Progress, silent
from curation_assets.scoring import prompt
from curation_assets.scoring.ask_llm import SPELLINGS, ScoreTable, check_texts

KEY = "CURATION_SERVER_KEY"
"""Environment variable with the server's API key, where it wants one."""

_AT_ONCE = 32  # requests: servers batch them
_CHARACTERS = 4  # of a token, about, in English
_TRIES, _PAUSE, _LONGEST = 6, 0.5, 30.0  # pauses in seconds: the first, twice that, ...
_TIMEOUT = 600.0
_TOP = 20  # the most that vLLM gives by default
_AGAIN = (408, 425, 429, 500, 502, 503, 504)
_REFUSES, _LENGTH = (400, 413, 422), re.compile(r"context|too (?:long|large)|tokens", re.IGNORECASE)
_SHORTEST = 64  # characters of a document: where these do not fit, the prompt does not
_MOST_BYTES = 4 << 20
_ROUNDING = 1e-7  # of probabilities that a server computes in float32


_ENOUGH = 16  # documents, of which most without an answer are no matter of the documents


class Answer(NamedTuple):
    """What a server says of one prompt.

    Attributes
    ----------
    log_yes : log P("yes"); where no spelling of it is among the tokens that the server tells of, the least that it tells, or what is left
        beside all that it tells if that is less.
    shown : whether one is.
    first : the likeliest tokens, where neither "yes" nor "no" is among them.
    tokens : of the prompt; 0 where the server does not count them.
    cut : whether the document was halved until the server took it.
    """

    log_yes: float
    shown: bool
    first: str
    tokens: int
    cut: bool = False


@dataclass(frozen=True)
class ServedTable(ScoreTable):
    """A `ScoreTable`; where `shown`, bool [n], is false, P("yes") is at most what `score` says, and the server tells no more."""

    shown: NDArray[np.bool_]


class ServerJudge:
    """Score documents by the log-probability that a model behind a server answers "yes" to the Ask-LLM prompt.

    P("yes") is the sum over its spellings among the `top` tokens that the server tells of; one that is not among them is less likely
    than any of these, and is not counted. Where none is among them, the least probability that is told stands for it, or what these leave of 1
    if that is less (some servers tell one token alone): a document that the judge rejects so clearly comes behind those of which P("yes")
    is told, and of equal ones the document's noise decides.

    Parameters
    ----------
    url : of the API as its clients name it, "http://127.0.0.1:8000/v1".
    model : as the server calls it.
    template, max_tokens : as of `AskLLM`; since the server alone knows its tokens, documents are cut at four characters for each, and one
        that the server then refuses as too long (it has more tokens than that) at half of them, and half again.
    top : tokens to ask for.
    pause : seconds before what failed is tried again; twice as long each time.
    """

    def __init__(
        self,
        url: str,
        model: str,
        *,
        template: str = prompt.TEMPLATE,
        max_tokens: int = 512,
        top: int = _TOP,
        pause: float = _PAUSE,
    ) -> None:
        self._before, self._after = prompt.frame_of(template)
        self.url, self.model = url.rstrip("/"), model
        self.max_tokens, self.characters = max_tokens, _CHARACTERS * max_tokens
        self._top, self._pause = top, pause
        self._opener = urllib.request.build_opener(_NoRedirect)

    def score_table(
        self, texts: Sequence[str], progress: Progress = silent, tokens: Flat | None = None
    ) -> ServedTable:
        """Return scores and what was noticed on the way, as `AskLLM.score_table`; `tokens` of another tokenizer are of no use here.

        Raises
        ------
        TypeError, ValueError
            A text is not valid Unicode; the server refuses a request: names the row. Or most of 16 texts and more are answered neither by
            "yes" nor by "no".
        ConnectionError
            The server cannot be reached, or has no answer after six tries.
        """
        check_texts(texts)
        clean, flags, again = prompt.readings(texts)
        documents = [text.strip() for text in clean]
        cut = np.array([len(one) > self.characters for one in documents], np.bool_)
        rows = [*range(len(texts)), *again.tolist()]
        answers = self._ask_all([one[: self.characters] for one in documents], rows, progress, len(texts))
        self._check_answers(answers)
        cut |= np.array([one.cut for one in answers], np.bool_)
        scores = np.array([one.log_yes for one in answers])
        shown = np.array([one.shown for one in answers], np.bool_)
        frame = self._ask("", "the prompt alone").tokens if answers else 0
        read = np.array([max(one.tokens - frame, 0) for one in answers], np.int32)
        n = len(texts)
        lower = scores[n:] < scores[again]
        scores[again[lower]], shown[again[lower]] = scores[n:][lower], shown[n:][lower]
        return ServedTable(scores[:n], read[:n], cut[:n], flags, shown[:n])

    def _check_answers(self, answers: Sequence[Answer]) -> None:
        """Refuse a model that answers something else: no instruction-tuned one, or a template that has it think first."""
        others = [one.first for one in answers if one.first]
        if len(answers) >= _ENOUGH and len(others) > len(answers) / 2:
            raise ValueError(
                f'{self.url} ({self.model}): neither "yes" nor "no" is among the {self._top} likeliest first tokens of {len(others)} '
                f"of {len(answers)} answers ({others[0]}, ...): is this an instruction-tuned model, and its chat template the right one?"
            )

    def _ask_all(
        self, documents: Sequence[str], rows: Sequence[int], progress: Progress, total: int
    ) -> list[Answer]:
        """Return an answer for each document, in order; several are asked for at once, and after an error no more."""
        pool, answers = ThreadPoolExecutor(_AT_ONCE), []
        progress(0, total, "documents")
        try:
            places = [f"row {row}" for row in rows]
            for number, answer in enumerate(pool.map(self._ask, documents, places), 1):
                answers.append(answer)
                progress(min(number, total), total, "documents")
        finally:
            pool.shutdown(cancel_futures=True)
        return answers

    def question(self, document: str) -> str:
        """Return what the server is asked of a document that is neutralised and cut."""
        return f"{self._before}{document}{self._after}"

    def _ask(self, document: str, where: str) -> Answer:
        body = {
            "model": self.model,
            "messages": [{"role": "user", "content": self.question(document)}],
            "max_tokens": 1,
            "temperature": 1.0,  # else some servers sharpen the probabilities
            "logprobs": True,
            "top_logprobs": self._top,
            "chat_template_kwargs": {"enable_thinking": False},  # the first token is to be the answer
            "cache_prompt": False,  # what llama.cpp has read before would move P by a seventh
        }
        try:
            return _answer(self._post(body))
        except TooLong as error:
            if len(document) < 2 * _SHORTEST:
                raise ValueError(f"{self.url} ({self.model}), {where}: {error}") from None
            return self._ask(document[: len(document) // 2], where)._replace(cut=True)
        except ValueError as error:
            raise ValueError(f"{self.url} ({self.model}), {where}: {error}") from None

    def _post(self, body: dict[str, Any]) -> Any:
        """Return the server's answer; what may be better the next time is tried again, after a pause."""
        headers = {"Content-Type": "application/json"}
        if key := os.environ.get(KEY):
            headers["Authorization"] = f"Bearer {key}"
        request = urllib.request.Request(
            f"{self.url}/chat/completions", json.dumps(body).encode(), headers, method="POST"
        )
        why, pause = "", self._pause
        for number in range(_TRIES):
            try:
                with self._opener.open(request, timeout=_TIMEOUT) as response:
                    return json.loads(response.read(_MOST_BYTES))
            except urllib.error.HTTPError as error:
                why = f"HTTP status {error.code}: {_line(error.read(_MOST_BYTES))}"
                if error.code not in _AGAIN:
                    raise (TooLong if error.code in _REFUSES and _LENGTH.search(why) else ValueError)(
                        why
                    ) from None
                pause = max(pause, _seconds(error.headers.get("Retry-After")))
            except (OSError, HTTPException) as error:  # URLError is an OSError
                why = str(getattr(error, "reason", error)) or type(error).__name__
            if number < _TRIES - 1:
                time.sleep(min(pause, _LONGEST))
                pause *= 2
        raise ConnectionError(f"{self.url} ({self.model}) has no answer after {_TRIES} tries: {why}")


class TooLong(ValueError):
    """The server refuses a prompt for its length."""


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Another place might get the key."""

    def redirect_request(self, *_: Any) -> None:
        return None


def _answer(answer: Any) -> Answer:
    """Read P("yes") from an answer; ValueError where it is not there."""
    try:
        listed = answer["choices"][0]["logprobs"]["content"][0]["top_logprobs"]
        top = [(str(one["token"]), float(one["logprob"])) for one in listed]
    except (KeyError, IndexError, TypeError, ValueError):
        raise ValueError(
            "the answer has no log-probabilities of its first token (choices[0].logprobs.content[0].top_logprobs)"
        ) from None
    top = [(token, log) for token, log in top if math.isfinite(log)]
    if not top:
        raise ValueError("the answer has no finite log-probability of its first token")
    yes = [log for token, log in top if token in SPELLINGS]
    left = max(1 - math.fsum(math.exp(min(log, 0.0)) for _, log in top), _ROUNDING)
    log_yes = float(np.logaddexp.reduce(yes)) if yes else min(math.log(left), *(log for _, log in top))
    answered = yes or any(token.strip().lower() == "no" for token, _ in top)
    first = "" if answered else ", ".join(repr(token) for token, _ in top[:5])
    usage = answer.get("usage") or {}
    return Answer(min(log_yes, 0.0), bool(yes), first, int(usage.get("prompt_tokens") or 0))


def _line(content: bytes) -> str:
    """Return the start of what a server says, on one line."""
    text = " ".join(content[:2000].decode(errors="replace").split())[:300]
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def _seconds(header: str | None) -> float:
    try:
        return max(0.0, float(header or 0))
    except ValueError:
        return 0.0  # a date
