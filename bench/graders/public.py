"""Ask the public graders of lmms-eval and VLMEvalKit, in a process and environment of their own.

Reads lines of JSON `{"grader": name, "cases": [...]}` from standard input and writes a line
`{"answers": [...]}` for each, one answer a case; the graders below say what a case is. Needs the
packages of requirements.txt and not lookless. `compare.py` runs it.

Both kits import torch, API clients and all of their data sets when imported as packages (and
VLMEvalKit switches the verification of certificates off), so their packages are replaced by empty
ones that only say where the modules are; the modules that score are imported as they are. The
network is blocked: what a grader would ask a language model, it leaves undecided.
"""

import importlib
import importlib.metadata
import importlib.util
import json
import os
import pickle
import re
import socket
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

Case = dict[str, Any]
Row = dict[str, Any]
"""An answered question: id, answer, right, options, family, kind, cluster."""

HOLLOW = (
    *("lmms_eval", "lmms_eval.tasks", "lmms_eval.api"),
    *("vlmeval", "vlmeval.dataset", "vlmeval.dataset.utils"),
)
"""Packages whose own code is left out."""
THINKING = [["<think>", "</think>"], ["<thinking>", "</thinking>"]]


def block_network() -> None:
    """Make every connection of this process fail at once."""

    def refuse(*_: object, **__: object) -> None:
        raise OSError("the graders run without network")

    for name in ("connect", "connect_ex", "sendto"):
        setattr(socket.socket, name, refuse)
    socket.getaddrinfo = refuse  # type: ignore[assignment]


def hollow_packages() -> None:
    """Put empty packages in the place of the heavy ones, and nothing in that of the registry."""
    for name in HOLLOW:
        root, *inner = name.split(".")
        spec = importlib.util.find_spec(root) if not inner else None
        folders = spec.submodule_search_locations if spec else sys.modules[root].__path__
        package = ModuleType(name)
        package.__path__ = [os.path.join(folders[0], *inner)] if folders else []
        sys.modules[name] = package
    registry: Any = ModuleType("lmms_eval.api.registry")
    registry.register_metric = registry.register_aggregation = lambda *_, **__: lambda f: f
    sys.modules[registry.__name__] = registry


def module(name: str) -> Any:
    """Return a module of either kit."""
    return importlib.import_module(name)


# Letters. A case: answer, options by letter. The answer: a letter, or None.


def spoken(answer: str) -> str:
    """Return an answer without thinking, as lmms-eval does on request."""
    text: str = module("lmms_eval.api.reasoning").strip_reasoning_tags(answer, THINKING)
    return text


def lmms_vstar(case: Case) -> str | None:
    """Return the letter that V* Bench's task reads."""
    doc = {"question_id": "", "text": "", "label": "", "category": ""}
    result = module("lmms_eval.tasks.vstar_bench.utils").vstar_process_results(
        doc, [spoken(case["answer"])]
    )
    letter: str | None = result["vstar_overall_acc"]["prediction"]
    return letter


def lmms_mcq(case: Case) -> str | None:
    """Return the letter that the shared extractor reads, which MMStar's task uses."""
    extract = module("lmms_eval.tasks._task_utils.mcq_extract").extract_mcq_answer
    return extract(spoken(case["answer"]), choices=list(case["options"])) or None


def lmms_hrbench(case: Case) -> str | None:
    """Return the letter that HR-Bench's task reads before it asks a language model."""
    evaluator = module("lmms_eval.tasks.hrbench.utils").hrbench_evaluator
    return evaluator.can_infer(spoken(case["answer"]).strip(), dict(case["options"])) or None


def lmms_mme_realworld(case: Case) -> str | None:
    """Return the letter that MME-RealWorld's task reads."""
    extract = module("lmms_eval.tasks.mme_realworld.utils").extract_characters_regex
    return extract(spoken(case["answer"])) or None


def vlm_can_infer(case: Case) -> str | None:
    """Return the letter that the vanilla multiple-choice evaluation reads without a judge."""
    item = {**case["options"], "question": "", "prediction": case["answer"].split("</think>")[-1]}
    letter: str = module("vlmeval.dataset.utils.multiple_choice").extract_answer_from_item(
        None, item
    )["opt"]
    return None if letter == "Z" else letter


def vlm_regex(case: Case) -> str | None:
    """Return the letter of the rule for TreeBench and MME-RealWorld, out of answer tags if any."""
    answer = case["answer"].split("</think>")[-1]
    tagged = re.search(r"<answer>(.*?)</answer>", answer, re.DOTALL)
    extract = module("vlmeval.dataset.utils.multiple_choice").extract_characters_regex
    return extract(tagged[1].strip().upper() if tagged else answer) or None


# Yes or no. A case: answer. The answer: yes, no, or None.


def lmms_pope(case: Case) -> str | None:
    """Return what POPE's task compares, if it is one of the two."""
    doc = {"question_id": "", "answer": "yes"}
    result = module("lmms_eval.tasks.pope.utils").pope_process_results(
        doc, [spoken(case["answer"])]
    )
    said = result["pope_accuracy"]["prediction"]
    return said if said in ("yes", "no") else None


def vlm_yes_no(case: Case) -> str | None:
    """Return what POPE's evaluation extracts without a judge."""
    extract = module("vlmeval.dataset.utils.yorn").YOrN_Extraction
    said = extract(case["answer"].split("</think>")[-1]).lower()
    return said if said in ("yes", "no") else None


# Scores of one answer. A case: answer, references. The answer: 0..1.


def lmms_anls(case: Case) -> float:
    """Return the ANLS of InfographicVQA and DocVQA."""
    score = module("lmms_eval.api.metrics").anls(case["references"], [case["answer"]])["anls"]
    return float(score)


def lmms_relaxed(case: Case) -> float:
    """Return ChartQA's relaxed accuracy for the only reference."""
    (reference,) = case["references"]
    doc = {"answer": reference, "type": "human_test"}
    process = module("lmms_eval.tasks.chartqa.utils").chartqa_process_results
    return float(process(doc, [case["answer"]])["relaxed_overall"])


def lmms_vqa(case: Case) -> float:
    """Return TextVQA's accuracy."""
    doc = {"answers": list(case["references"]), "question_id": ""}
    process = module("lmms_eval.tasks.textvqa.utils").textvqa_process_results
    return float(process(doc, [case["answer"]])["exact_match"])


def vlm_score(method: str, dataset: str) -> Callable[[Case], float]:
    """Return VLMEvalKit's grader of a data set of short answers."""

    def score(case: Case) -> float:
        vqa = module("vlmeval.dataset.utils.vqa_eval")
        line = {"answer": str(case["references"]), "prediction": case["answer"]}
        return float(vqa.hit_calculate([vqa.process_line(line, method=method)], dataset)[0])

    return score


# Reports. A case: all answered questions, as rows. The answer: metrics by name.


def by_letter(row: Row) -> dict[str, str]:
    """Return a row's options by letter."""
    return {chr(ord("A") + k): text for k, text in enumerate(row["options"])}


def lmms_vstar_report(rows: list[Row]) -> dict[str, float]:
    """Return V* Bench's accuracies in 0..1."""
    utils = module("lmms_eval.tasks.vstar_bench.utils")
    groups: dict[str, list[Any]] = {}
    for row in rows:
        doc = {"question_id": row["id"], "text": "", "label": row["right"]}
        results = utils.vstar_process_results(doc | {"category": row["family"]}, [row["answer"]])
        for name, result in results.items():
            groups.setdefault(name.removeprefix("vstar_").removesuffix("_acc"), []).append(result)
    return {name: utils.vstar_aggregate_results(group) / 100 for name, group in groups.items()}


def lmms_mmstar_report(rows: list[Row]) -> dict[str, float]:
    """Return MMStar's mean over axes, and the plain mean and those of the categories."""
    utils = module("lmms_eval.tasks.mmstar.utils")
    results = []
    for row in rows:
        doc = {"index": row["id"], "answer": row["right"], "category": row["family"]}
        doc["l2_category"] = row["kind"]
        results.append(utils.mmstar_process_results(doc, [row["answer"]])["average"])
    scores = [result["score"] for result in results]
    plain = sum(scores) / len(scores)
    return {"macro_18": utils.mmstar_aggregate_results(results), "average": plain}


def lmms_hrbench_report(rows: list[Row]) -> dict[str, float]:
    """Return HR-Bench's accuracies over the cycles."""
    utils = module("lmms_eval.tasks.hrbench.utils")
    groups: dict[str, list[Any]] = {}
    for row in rows:
        doc = {"index": row["id"], "question": "", "answer": row["right"], **by_letter(row)}
        doc |= {"category": row["family"], "cycle_category": row["kind"]}
        for name, result in utils.hrbench_process_results(doc, [row["answer"]]).items():
            groups.setdefault(name, []).append(result)
    names = {"average": "overall", "single": "fsp", "cross": "fcp"}
    return {names[k]: utils.hrbench_aggregate_results(group, None) for k, group in groups.items()}


def lmms_mme_realworld_report(rows: list[Row]) -> dict[str, float]:
    """Return MME-RealWorld's accuracy."""
    utils = module("lmms_eval.tasks.mme_realworld.utils")
    results = []
    for row in rows:
        doc = {"index": row["id"], "answer": row["right"], "category": row["family"]}
        doc["l2-category"] = row["kind"]
        results.append(utils.mme_realworld_process_results(doc, [row["answer"]]))
    found = [result["mme_realworld_score"] for result in results]
    return {"average": utils.mme_realworld_aggregate_results(found)}


def lmms_pope_report(rows: list[Row]) -> dict[str, float]:
    """Return POPE's numbers."""
    utils = module("lmms_eval.tasks.pope.utils")
    results = [
        utils.pope_process_results(
            {"question_id": row["id"], "answer": row["right"]}, [row["answer"]]
        )
        for row in rows
    ]
    return {
        name: getattr(utils, f"pope_aggregate_{name}")([one[f"pope_{name}"] for one in results])
        for name in ("accuracy", "precision", "recall", "f1_score", "yes_ratio")
    }


def table(rows: list[Row]) -> Any:
    """Return rows as a table with VLMEvalKit's columns."""
    pandas = module("pandas")
    return pandas.DataFrame(
        {
            "index": int(row["id"]),
            "g_index": int(row["cluster"] or row["id"]),
            "question": row["cluster"],
            "answer": row["right"],
            "prediction": row["answer"],
            "category": row["family"],
            "cycle_category": row["kind"],
            "l2-category": row["kind"],
            **by_letter(row),
        }
        for row in rows
    )


def vanilla_hits(rows: list[Row], dataset: str) -> Any:
    """Return the table with what the vanilla multiple-choice evaluation counts as right."""
    evaluate = module("vlmeval.dataset.utils.multiple_choice").mcq_vanilla_eval
    with tempfile.TemporaryDirectory() as folder:
        return evaluate(None, table(rows), table(rows), 1, f"{folder}/hits.pkl", dataset)


def vlm_vstar_report(rows: list[Row]) -> dict[str, float]:
    """Return V* Bench's accuracies."""
    report = module("vlmeval.dataset.utils.multiple_choice").report_acc
    row = report(vanilla_hits(rows, "VStarBench").drop(columns="l2-category")).iloc[0]
    return {"overall" if k == "Overall" else k: float(v) for k, v in row.items() if k != "split"}


def vlm_mmstar_report(rows: list[Row]) -> dict[str, float]:
    """Return MMStar's accuracy and those of the categories."""
    report = module("vlmeval.dataset.utils.multiple_choice").report_acc
    row = report(vanilla_hits(rows, "MMStar")).iloc[0]
    names = {"Overall": "average"} | {row["family"]: row["family"] for row in rows}
    return {ours: float(row[theirs]) for theirs, ours in names.items()}


def vlm_hrbench_report(rows: list[Row]) -> dict[str, float]:
    """Return HR-Bench's accuracies over the cycles."""
    report = module("vlmeval.dataset.utils.hrbench").report_acc_hrbench
    found = report(vanilla_hits(rows, "HRBench4K"))
    mean = found[found["cycle"] == "Average"].set_index("type")["accuracy"]
    names = {"all": "overall", "single": "fsp", "cross": "fcp"}
    return {ours: float(mean[theirs]) for theirs, ours in names.items()}


def vlm_mmbench_report(rows: list[Row]) -> dict[str, float]:
    """Return MMBench's circular accuracy and those of the families."""
    utils = module("vlmeval.dataset.utils.multiple_choice")
    name = f"lookless-graders-{os.getpid()}"
    utils.timestr = lambda: name  # it leaves /tmp/<time>.tsv behind
    data = table(rows).drop(columns="cycle_category")
    try:
        with tempfile.TemporaryDirectory() as folder:
            hits = utils.mcq_circular_eval(
                None, data, data.copy(), 1, f"{folder}/hits.pkl", "MMBench"
            )
    finally:
        Path(f"/tmp/{name}.tsv").unlink(missing_ok=True)
    row = utils.report_acc(hits.drop(columns="l2-category")).iloc[0]
    names = {"Overall": "circular_accuracy"}
    return {names.get(k, k): float(v) for k, v in row.items() if k != "split"}


def vlm_treebench_report(rows: list[Row]) -> dict[str, float]:
    """Return TreeBench's accuracy and those of the categories."""
    rate = module("vlmeval.dataset.utils.treebench").get_dimension_rating
    data = table(rows)
    data["iou"] = 0.0
    data["score"] = [
        int(vlm_regex({"answer": row["answer"], "options": {}}) == row["right"]) for row in rows
    ]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "scores.pkl")
        path.write_bytes(pickle.dumps(data))
        rating = rate(str(path))
    families = {row["family"]: row["family"].split("/") for row in rows}
    parts = {family: rating[task][subtask] for family, (task, subtask) in families.items()}
    return {"accuracy": rating["Overall"], **parts}


def vlm_pope_report(rows: list[Row]) -> dict[str, float]:
    """Return POPE's numbers, over all and for each split."""
    utils = module("vlmeval.dataset.utils.yorn")
    data = table(rows)
    data["answer"] = [row["right"].capitalize() for row in rows]
    data["extracted"] = [utils.YOrN_Extraction(row["answer"]) for row in rows]
    data["score"] = data["answer"] == data["extracted"]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "scores.pkl")
        path.write_bytes(pickle.dumps(data))
        rating = utils.POPE_rating(str(path))
    names = {"Overall": "f1_score", "acc": "accuracy", "precision": "precision"}
    names["recall"] = "recall"
    return {
        f"{'' if row['split'] == 'Overall' else row['split'] + '/'}{ours}": row[theirs] / 100
        for _, row in rating.iterrows()
        for theirs, ours in names.items()
    }


GRADERS: dict[str, Callable[[Any], Any]] = {
    "lmms vstar": lmms_vstar,
    "lmms mcq": lmms_mcq,
    "lmms hrbench": lmms_hrbench,
    "lmms mme_realworld": lmms_mme_realworld,
    "vlm can_infer": vlm_can_infer,
    "vlm regex": vlm_regex,
    "lmms pope": lmms_pope,
    "vlm yes_no": vlm_yes_no,
    "lmms anls": lmms_anls,
    "lmms relaxed": lmms_relaxed,
    "lmms vqa": lmms_vqa,
    "vlm anls": vlm_score("anls", "InfoVQA_VAL"),
    "vlm relaxed": vlm_score("relaxed_accuracy", "ChartQA_TEST"),
    "vlm vqa": vlm_score("vqa_score", "TextVQA_VAL"),
    "lmms vstar report": lmms_vstar_report,
    "lmms mmstar report": lmms_mmstar_report,
    "lmms hrbench report": lmms_hrbench_report,
    "lmms mme_realworld report": lmms_mme_realworld_report,
    "lmms pope report": lmms_pope_report,
    "vlm vstar report": vlm_vstar_report,
    "vlm mmstar report": vlm_mmstar_report,
    "vlm hrbench report": vlm_hrbench_report,
    "vlm mmbench report": vlm_mmbench_report,
    "vlm treebench report": vlm_treebench_report,
    "vlm pope report": vlm_pope_report,
}


def main() -> None:
    """Answer until standard input ends; the first line says the versions."""
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what the kits print must not get between the replies
    os.environ["PRED_FORMAT"] = "tsv"
    block_network()
    hollow_packages()
    module("loguru").logger.remove()
    versions = {kit: importlib.metadata.version(kit) for kit in ("lmms-eval", "ms-vlmeval")}
    replies.write(json.dumps({"versions": versions}) + "\n")
    for line in sys.stdin:
        request = json.loads(line)
        grade = GRADERS[request["grader"]]
        replies.write(json.dumps({"answers": [grade(case) for case in request["cases"]]}) + "\n")
        replies.flush()


if __name__ == "__main__":
    main()
