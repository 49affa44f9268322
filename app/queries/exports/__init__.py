"""Exports: the pairs and verdicts of a closed eval batch in the formats of other tools."""

from app.queries.exports import alpaca_eval, argilla, battles, csv, mt_bench, own, trl
from app.queries.exports.rows import Format, Shape

FORMATS: dict[str, Format] = {
    "jsonl": Format("Brie Arena, everything, for another arena", Shape.LINES, own.FILE, own.rows),
    "csv": Format("CSV, one line a pair", Shape.CSV, csv.FILE, csv.rows),
    "alpaca-eval": Format("AlpacaEval, outputs and annotations", Shape.LIST, "", alpaca_eval.rows),
    "mt-bench": Format("MT-bench, questions, answers and judgments", Shape.LINES, "", mt_bench.rows),
    "battles": Format("Chatbot Arena battles, one line a vote", Shape.LINES, battles.FILE, battles.rows),
    "argilla": Format("Argilla records", Shape.LINES, argilla.FILE, argilla.rows),
    "trl": Format("TRL preference rows", Shape.LINES, trl.FILE, trl.rows, trl.left_out),
}
"""What an eval batch can be exported as, by the name that is typed."""
