import json
from pathlib import Path

from benchmarks.made import (
    as_text,
    feature,
    golds,
    image_file,
    loaded,
    metrics,
    parquet,
    picture,
    tsv,
    values,
)
from lookless.benchmarks.docvqa import BENCHMARK


def test_parquet_tsv_and_json_give_the_same_question(tmp_path: Path) -> None:
    pages = {"docId": 4720, "ucsf_document_id": "khxj", "ucsf_document_page_no": "6"}
    hub = parquet(tmp_path / "hub" / "DocVQA" / "validation-00000-of-00006.parquet", [
        {"questionId": "49153", "question": "What is the value?", "answers": ["0.28", ".28"],
         "image": feature(), "data_split": "val"} | pages,
    ])  # fmt: skip
    kit = tsv(tmp_path / "DocVQA_VAL.tsv", [
        {"index": 49153, "question": "What is the value?", "answer": "['0.28', '.28']",
         "image": as_text(picture())},
    ])  # fmt: skip
    official = tmp_path / "rrc" / "val_v1.0.json"
    image_file(official.parent / "documents" / "khxj_6.png")
    official.write_text(json.dumps({"data": [
        {"questionId": 49153, "question": "What is the value?", "answers": ["0.28", ".28"],
         "image": "documents/khxj_6.png"} | pages,
    ]}))  # fmt: skip
    for path in (hub, hub.parents[1], kit, official, official.parent):
        (entry,) = loaded(BENCHMARK, path)
        question = entry.question
        assert (question.id, question.references) == ("49153", ("0.28", ".28"))
        assert (question.unit == "khxj/6") is (path != kit)  # the TSV names no page
        assert question.cluster
        assert len(entry.images) == 1


def test_pages_of_one_document_are_different_images(tmp_path: Path) -> None:
    rows = [
        {"questionId": str(k), "question": "?", "answers": ["a"], "image": feature(),
         "ucsf_document_id": "khxj", "ucsf_document_page_no": page}
        for k, page in enumerate(("1", "1", "2"))
    ]  # fmt: skip
    file = parquet(tmp_path / "validation-0.parquet", rows)
    units = [e.question.unit for e in loaded(BENCHMARK, file, with_images=False)]
    assert units[0] == units[1] != units[2]


def test_gold_scores_one_and_a_near_miss_its_anls(tmp_path: Path) -> None:
    rows = [{"questionId": str(k), "question": "?", "answers": ["abcd"], "image": feature()}
            for k in range(2)]  # fmt: skip
    entries = loaded(BENCHMARK, parquet(tmp_path / "validation-0.parquet", rows))
    assert values(metrics(BENCHMARK, entries, golds(entries))) == {"anls": 1.0, "exact_match": 1.0}
    found = values(metrics(BENCHMARK, entries, ["abce", "wxyz"]))  # 0.75 and 0
    assert found == {"anls": 0.375, "exact_match": 0.0}
