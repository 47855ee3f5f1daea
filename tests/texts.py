"""Texts of several kinds, to see how far off an estimate of their tokens is."""

from __future__ import annotations

import hashlib
import os
import tempfile
from importlib.resources import files
from pathlib import Path

from opentelemetry.instrumentation.open_webui.answers import estimates
from opentelemetry.instrumentation.open_webui.answers.estimates import Estimator, Text, utf8_size

TEXTS: dict[str, str] = {
    "English": (
        "The harbour was quiet when the first boats came back. Somebody had left a lamp burning in "
        "the window of the net loft, and its light lay on the water like a path that nobody would "
        "ever walk. We counted the boxes twice, wrote the numbers into the book and went up to the "
        "village, where the baker had just opened his door. He asked how the night had been, and "
        "as usual nobody knew what to say, because a night at sea is long and has very little in "
        "it that can be told in the time that it takes to buy bread."
    ),
    "German": (
        "Der Hafen lag still, als die ersten Boote zurückkamen. Jemand hatte im Fenster des "
        "Netzbodens eine Lampe brennen lassen, und ihr Licht lag auf dem Wasser wie ein Weg, den "
        "niemand je gehen würde. Wir zählten die Kisten zweimal, schrieben die Zahlen ins Buch und "
        "gingen hinauf ins Dorf, wo der Bäcker gerade seine Tür geöffnet hatte. Er fragte, wie die "
        "Nacht gewesen sei, und wie gewöhnlich wusste keiner, was er sagen sollte."
    ),
    "French": (
        "Le port était calme quand les premiers bateaux sont revenus. Quelqu'un avait laissé une "
        "lampe allumée à la fenêtre du grenier aux filets, et sa lumière s'étendait sur l'eau comme "
        "un chemin que personne ne prendrait jamais. Nous avons compté les caisses deux fois, noté "
        "les chiffres dans le livre et sommes montés au village, où le boulanger venait d'ouvrir."
    ),
    "Russian": (
        "В гавани было тихо, когда вернулись первые лодки. Кто-то оставил гореть лампу в окне "
        "сетного чердака, и её свет лежал на воде, как дорога, по которой никто никогда не пойдёт. "
        "Мы дважды пересчитали ящики, записали числа в книгу и поднялись в деревню, где пекарь "
        "только что открыл дверь. Он спросил, как прошла ночь, и, как всегда, никто не знал, что "
        "ответить."
    ),
    "Chinese": (
        "第一批船回来的时候，港口很安静。有人在渔网阁楼的窗前留了一盏灯，灯光铺在水面上，像一条永远"
        "不会有人走的路。我们把箱子数了两遍，把数字写进本子，然后上山到村里去，面包师刚刚打开门。他"
        "问夜里怎么样，和往常一样，没有人知道该说什么，因为海上的夜很长，而能在买面包的工夫里讲完的"
        "事情却很少。"
    ),
    "Japanese": (
        "最初の船が戻ってきたとき、港は静かだった。誰かが網小屋の窓にランプを灯したままにしていて、"
        "その光は、誰も歩くことのない道のように水の上にのびていた。私たちは箱を二度数え、数字を帳面に"
        "書き、村へ上っていった。パン屋がちょうど戸を開けたところだった。夜はどうだったかと彼は尋ねた"
        "が、いつものように、何と言えばよいのか誰にもわからなかった。"
    ),
    "Python": (
        "def merge(first, second):\n"
        '    """Merge two sorted lists."""\n'
        "    merged, i, j = [], 0, 0\n"
        "    while i < len(first) and j < len(second):\n"
        "        if first[i] <= second[j]:\n"
        "            merged.append(first[i])\n"
        "            i += 1\n"
        "        else:\n"
        "            merged.append(second[j])\n"
        "            j += 1\n"
        "    return merged + first[i:] + second[j:]\n"
    ),
    "JSON": (
        '{"orders": [{"id": 10482, "customer": "A. Larsen", "total": 129.5, "currency": "EUR", '
        '"items": [{"sku": "NET-04", "quantity": 3}, {"sku": "LAMP-11", "quantity": 1}]}, '
        '{"id": 10483, "customer": "M. Okafor", "total": 48.0, "currency": "EUR", '
        '"items": [{"sku": "BOOK-02", "quantity": 2}]}], "page": 1, "pages": 14}'
    ),
    "Markdown": (
        "## Prices\n\n| box | weight | price |\n|---|---|---|\n| small | 4 kg | 12.50 |\n"
        "| medium | 9 kg | 24.00 |\n| large | 18 kg | 41.75 |\n\n- **Note:** prices hold *this "
        "week* only.\n- See [the list](https://example.org/list) for the rest.\n"
    ),
}


def tokenizer(directory: str) -> Estimator:
    """An estimator that has found the tokenizer's data on the disk."""
    data = (files("tiktoken_ext") / "data" / "cl100k_base.tiktoken").read_bytes()
    name = hashlib.sha1(estimates._ADDRESS.encode()).hexdigest()
    (Path(directory) / name).write_bytes(data)
    os.environ["TIKTOKEN_CACHE_DIR"] = directory
    with_tokenizer = Estimator()
    with_tokenizer.load()
    return with_tokenizer


def errors() -> list[tuple[str, int, float, float]]:
    """Text, tokens in truth, and the errors by the rule of thumb and by a sample, as shares."""
    rule = Estimator()
    rule._asked = True
    found = []
    with tempfile.TemporaryDirectory() as directory:
        exact = tokenizer(directory)
        for name, text in TEXTS.items():
            true = len(exact._encoding.encode(text))
            # Of a long text, a sample of its beginning stands for all of it.
            measured = Text(utf8_size(text), text[: len(text) // 4])
            off = [one.tokens(measured) / true - 1 for one in (rule, exact)]
            found.append((name, true, *off))
    return found
