"""The texts of figures, tables and the gate on the approver's page, in English and Korean."""

from guardianflow.wording.phrases import Phrase

FIGURE_PHRASES: dict[str, Phrase] = {
    # The gate.
    "outcome.PASSED": Phrase("PASSED", "통과"),
    "outcome.FAILED": Phrase("FAILED", "불합격"),
    "outcome.INCONCLUSIVE": Phrase("INCONCLUSIVE", "판정 보류"),
    "gate": Phrase("Gate: {outcome}", "자동 심사: {outcome}"),
    "gate.PASSED": Phrase("All rules that apply are met.", "적용된 기준을 모두 충족했습니다."),
    "gate.FAILED": Phrase(
        "The gate says no, but the promotion was requested anyway. Why it says no:",
        "자동 심사 결과는 불합격이지만, 요청자가 강제로 승인을 요청했습니다. 불합격 사유:",
    ),
    "gate.INCONCLUSIVE": Phrase(
        "The rules cannot decide, so you decide. What is missing:",
        "기준만으로는 판정할 수 없으므로 담당자의 판단이 필요합니다. 판정하지 못한 이유:",
    ),
    "gate.reason": Phrase("{message}", "{model} {rule}: {why}(측정값 {measured}, 기준값 {limit})"),
    # Only the record says more.
    "gate.reason.recorded": Phrase("{message}", "{model} {rule}: {why}(기록: {message})"),
    "gate.rule": Phrase("rule", "기준"),
    "gate.says": Phrase("says", "판정"),
    "gate.measured": Phrase("measured", "측정값"),
    "gate.limit": Phrase("limit", "기준값"),
    "rule.measured": Phrase("measured", "측정 여부"),
    "rule.enough images": Phrase("enough images", "이미지 수"),
    "rule.absolute floor": Phrase("absolute floor", "최소 정확도"),
    "rule.no regression": Phrase("no regression", "정확도 하락 여부"),
    "rule.no regression: recall": Phrase("no regression: recall", "검출률 하락 여부"),
    "rule.miss rate": Phrase("miss rate", "미검출률"),
    "rule.false alarms": Phrase("false alarms", "오검출"),
    "rule.latency": Phrase("latency", "처리 시간"),
    "rule.data contamination": Phrase("data contamination", "평가 이미지 중복"),
    "rule.way back": Phrase("way back", "되돌릴 버전"),
    "rule.as good as its source: accuracy": Phrase(
        "as good as its source: accuracy", "원본 대비 정확도"
    ),
    "rule.as good as its source: recall": Phrase(
        "as good as its source: recall", "원본 대비 검출률"
    ),
    "rule.faster than its source": Phrase("faster than its source", "원본 대비 속도"),
    # Columns and rows.
    "figure.missed": Phrase("missed of 100", "100개당 미검출"),
    "figure.alarms": Phrase("false alarms in 100", "100장당 오검출"),
    "column.recall": Phrase("share found (objects)", "검출률 (객체 수)"),
    "engineers": Phrase("All figures, for engineers", "전체 측정값(엔지니어용)"),
    "engineers.about": Phrase("Model {model}.", "모델 {model}."),
    "range": Phrase("{low} to {high}", "{low} \\~ {high}"),
    "figure.map50": Phrase("mAP50", "mAP50"),
    "figure.map50_95": Phrase("mAP50-95", "mAP50-95"),
    "column.champion": Phrase("champion (version {version})", "현재 모델 (버전 {version})"),
    "column.candidate": Phrase("candidate (version {version})", "후보 모델 (버전 {version})"),
    "column.difference": Phrase("difference", "차이"),
    "column.model": Phrase("model", "모델"),
    "column.from": Phrase("from", "변경 전"),
    "column.to": Phrase("to", "변경 후"),
    "intervals": Phrase(
        "In brackets: the {confidence} confidence interval of each figure, from {images} images. A "
        "difference is clear if both ends have the same sign.",
        "괄호 안은 이미지 {images}장을 기준으로 한 {confidence} 신뢰구간입니다. 차이의 양 끝 "
        "부호가 같으면 확실한 차이입니다.",
    ),
    "unmeasured": Phrase(
        "Version {version} could not be measured: {problem}",
        "{version}번 버전을 측정하지 못했습니다. 사유: {problem}",
    ),
    # Speed and size.
    "cost": Phrase("Speed and size", "속도와 크기"),
    "cost.size": Phrase(
        "{model} takes {size} KiB instead of {source} KiB.",
        "{model}의 크기는 {size} KiB입니다(원본 {source} KiB).",
    ),
    "cost.FASTER": Phrase(
        "{model} is faster than its source: {speedup} times ({low} to {high}).",
        "{model}은(는) 원본보다 {speedup}배 빠릅니다({low} \\~ {high}배).",
    ),
    "cost.SLOWER": Phrase(
        "{model} is **slower** than its source: {speedup} times as fast ({low} to {high}).",
        "{model}은(는) 원본보다 **느립니다**. 속도 비율 {speedup}배({low} \\~ {high}배).",
    ),
    "cost.INCONCLUSIVE": Phrase(
        "It is not certain that {model} is faster than its source: {speedup} times ({low} to "
        "{high}).",
        "{model}이(가) 원본보다 빠른지는 확실하지 않습니다. 속도 비율 {speedup}배({low} \\~ "
        "{high}배).",
    ),
    "cost.unmeasured": Phrase(
        "Its speed was not measured on this type of machine, only on: {elsewhere}.",
        "이 기종에서는 속도를 측정하지 않았습니다. 측정한 기종: {elsewhere}.",
    ),
    "cost.where": Phrase(
        "Time for one frame, measured on {cpu} ({instructions}), {threads} thread(s), {side} px, "
        "{frames} frames. Other processors give other figures.",
        "프레임 1장 처리 시간입니다. 측정 환경: {cpu}({instructions}), 스레드 {threads}개, {side} "
        "px, {frames}프레임. 다른 프로세서에서는 값이 달라집니다.",
    ),
    "cost.precision": Phrase("computed in", "연산 정밀도"),
    "cost.default": Phrase("FP32, as OpenVINO chooses", "FP32 (OpenVINO 기본 설정)"),
    # What an approval needs.
    "policy.one": Phrase("one person", "1명의 승인"),
    "policy.two": Phrase("two different people", "서로 다른 2명의 승인"),
    "policy.of": Phrase("{count} of {names}", "{names} 중 {count}"),
    "policy.four_eyes": Phrase("not the requester", "요청자 본인 제외"),
    "policy.code": Phrase("each with a one-time code", "각자 일회용 코드 입력"),
    "policy.name": Phrase("by name", "이름 기재"),
    "moves": Phrase("What will move", "변경되는 별칭"),
    "warnings": Phrase("Notes", "참고 사항"),
    # Where it comes from.
    "lineage": Phrase("Where it comes from", "모델의 출처"),
    "lineage.trained": Phrase(
        "Trained from scenario {scenario}, measured on {images} images that version {version} was "
        "not trained on.",
        "시나리오 {scenario}(으)로 학습했으며, {version}번 버전이 학습에 사용하지 않은 이미지 "
        "{images}장으로 측정했습니다.",
    ),
    "lineage.imported": Phrase(
        "Imported from {origin} for scenario {scenario}, measured on {images} images; it is not "
        "known whether it was trained on them.",
        "시나리오 {scenario}용으로 {origin}에서 가져온 모델이며, 이미지 {images}장으로 "
        "측정했습니다. 이 이미지가 학습에 사용되었는지는 확인할 수 없습니다.",
    ),
    "lineage.handed": Phrase(
        "Trained by {origin} from scenario {scenario}, measured on {images} images that were not "
        "given to that trainer.",
        "{origin}(이)가 시나리오 {scenario}(으)로 학습했으며, 이 학습 도구에 제공하지 않은 이미지 "
        "{images}장으로 측정했습니다.",
    ),
    "lineage.unmeasured": Phrase(
        "Made for scenario {scenario}; not measured on any image.",
        "시나리오 {scenario}용 모델이며, 측정에 사용한 이미지가 없습니다.",
    ),
    "lineage.unknown": Phrase("unknown", "알 수 없음"),
    "lineage.run": Phrase("training run", "학습 실행"),
    "lineage.commit": Phrase("commit of the code", "코드 커밋"),
    "lineage.start": Phrase("training started from", "학습 시작 가중치"),
    "lineage.unrecorded": Phrase("not recorded", "기록 없음"),
    "lineage.images": Phrase("{images} images", "이미지 {images}장"),
    "lineage.training": Phrase("images for training", "학습용 이미지"),
    "lineage.validation": Phrase("images for validation", "검증용 이미지"),
    "lineage.evaluation": Phrase("images for evaluation", "평가용 이미지"),
    "lineage.digest": Phrase("digest", "다이제스트"),
    "link.record": Phrase("evidence in MLflow", "MLflow의 증거 기록"),
    "link.version": Phrase("model version", "모델 버전"),
}
