"""What people read before they decide, in the language of their floor: English or Korean.

Records, events, tags, the ledger and logs stay English. Class names, model names, aliases and the
answers `approve` and `reject` are the same everywhere: machines compare them.
"""

from enum import StrEnum
from typing import NamedTuple


class Language(StrEnum):
    """In which the approver's form and page are written."""

    EN = "en"
    KO = "ko"


class Text(NamedTuple):
    """One text in every language; its placeholders are the same in all."""

    en: str
    ko: str


def say(language: Language, key: str, **values: object) -> str:
    """A text of `TEXTS` with its values filled in."""
    text = TEXTS[key]
    return (text.ko if language is Language.KO else text.en).format(**values)


def say_if_known(language: Language, key: str, otherwise: str) -> str:
    """A text without placeholders, or what is said where there is none of that key."""
    return say(language, key) if key in TEXTS else otherwise


TEXTS: dict[str, Text] = {
    # What the gate says.
    "outcome.PASSED": Text("PASSED", "통과"),
    "outcome.FAILED": Text("FAILED", "불합격"),
    "outcome.INCONCLUSIVE": Text("INCONCLUSIVE", "판정 보류"),
    "gate": Text("Gate: {outcome}", "자동 심사: {outcome}"),
    "gate.PASSED": Text("Every rule is kept.", "모든 기준을 충족했습니다."),
    "gate.FAILED": Text(
        "The gate says no; somebody asked all the same. Why it says no:",
        "자동 심사 결과는 불합격이지만, 요청자가 강제로 승인을 요청했습니다. 불합격 사유:",
    ),
    "gate.INCONCLUSIVE": Text(
        "The rules alone cannot tell, so you decide. What is missing:",
        "기준만으로는 판정할 수 없으므로 담당자의 판단이 필요합니다. 판정하지 못한 이유:",
    ),
    "gate.reason": Text("{message}", "{rule}: 측정값 {measured}, 기준값 {limit} (기록: {message})"),
    "gate.rule": Text("rule", "기준"),
    "gate.says": Text("says", "판정"),
    "gate.measured": Text("measured", "측정값"),
    "gate.limit": Text("limit", "기준값"),
    "rule.measured": Text("measured", "측정 여부"),
    "rule.enough images": Text("enough images", "이미지 수"),
    "rule.absolute floor": Text("absolute floor", "최소 정확도"),
    "rule.no regression": Text("no regression", "정확도 하락 여부"),
    "rule.no regression: recall": Text("no regression: recall", "검출률 하락 여부"),
    "rule.miss rate": Text("miss rate", "미검출률"),
    "rule.false alarms": Text("false alarms", "오검출"),
    "rule.latency": Text("latency", "처리 시간"),
    "rule.data contamination": Text("data contamination", "평가 이미지 중복"),
    "rule.way back": Text("way back", "되돌릴 버전"),
    "rule.as good as its source: accuracy": Text(
        "as good as its source: accuracy", "원본 대비 정확도"
    ),
    "rule.as good as its source: recall": Text("as good as its source: recall", "원본 대비 검출률"),
    "rule.faster than its source": Text("faster than its source", "원본 대비 속도"),
    # The line that everything begins with.
    "headline": Text(
        "Gate {outcome} · {flavour}: {figures}", "자동 심사 {outcome} · {flavour}: {figures}"
    ),
    "headline.unmeasured": Text(
        "Gate {outcome}: nothing could be measured.",
        "자동 심사 {outcome}: 측정할 수 있는 항목이 없었습니다.",
    ),
    "figure.missed": Text("missed per 100 objects", "객체 100개당 미검출"),
    "figure.alarms": Text("false alarms per 100 images", "이미지 100장당 오검출"),
    # What it means, in one sentence.
    "floor": Text("For the floor: {missed}; {alarms}.", "현장에서는 {missed}, {alarms}."),
    "floor.missed.fewer": Text(
        "clearly fewer objects are missed ({before} → {after} of 100)",
        "미검출이 확실히 줄고(객체 100개당 {before} → {after})",
    ),
    "floor.missed.more": Text(
        "clearly **more** objects are missed ({before} → {after} of 100)",
        "미검출이 확실히 **늘고**(객체 100개당 {before} → {after})",
    ),
    "floor.missed.same": Text(
        "whether more or fewer objects are missed, these images do not tell "
        "({before} → {after} of 100)",
        "미검출이 늘었는지 줄었는지는 이 이미지만으로 알 수 없으며(객체 100개당 {before} → "
        "{after})",
    ),
    "floor.missed.plain": Text(
        "of 100 objects {after} are missed instead of {before}",
        "미검출이 객체 100개당 {before}개에서 {after}개로 바뀌고",
    ),
    "floor.alarms.fewer": Text(
        "false alarms become clearly fewer ({before} → {after} in 100 images)",
        "오검출은 확실히 줄어듭니다(이미지 100장당 {before} → {after})",
    ),
    "floor.alarms.more": Text(
        "false alarms become clearly **more** ({before} → {after} in 100 images)",
        "오검출은 확실히 **늘어납니다**(이미지 100장당 {before} → {after})",
    ),
    "floor.alarms.same": Text(
        "whether false alarms become more or fewer, they do not tell either way "
        "({before} → {after} in 100 images)",
        "오검출의 증감도 확실하지 않습니다(이미지 100장당 {before} → {after})",
    ),
    "floor.alarms.plain": Text(
        "in 100 images there are {after} false alarms instead of {before}",
        "오검출은 이미지 100장당 {before}건에서 {after}건으로 바뀝니다",
    ),
    "floor.first": Text(
        "For the floor: of 100 objects {missed} are missed, and in 100 images there are {alarms} "
        "false alarms. There is no champion to compare with.",
        "현장에서는 객체 100개 중 {missed}개를 놓치고, 이미지 100장당 오검출이 {alarms}건 "
        "발생합니다. "
        "비교할 현재 운영 모델(@champion)은 없습니다.",
    ),
    "floor.unmeasured": Text(
        "For the floor: what changes nobody knows, since nothing could be measured.",
        "측정하지 못했으므로 현장에서 무엇이 달라지는지 알 수 없습니다.",
    ),
    "floor.worse": Text(
        "Clearly found less often than now: {classes}.",
        "현재보다 검출률이 확실히 떨어지는 클래스: {classes}.",
    ),
    # Columns and rows.
    "range": Text("{low} to {high}", "{low} \\~ {high}"),
    "figure.map50": Text("mAP50", "mAP50"),
    "figure.map50_95": Text("mAP50-95", "mAP50-95"),
    "column.champion": Text("champion (version {version})", "현재 모델 (버전 {version})"),
    "column.candidate": Text("candidate (version {version})", "후보 모델 (버전 {version})"),
    "column.difference": Text("difference", "차이"),
    "column.recall": Text("share found, by class", "클래스별 검출률"),
    "column.objects": Text("objects", "객체 수"),
    "column.model": Text("model", "모델"),
    "column.from": Text("from", "변경 전"),
    "column.to": Text("to", "변경 후"),
    "intervals": Text(
        "In brackets: where each figure lies with {confidence} confidence, given the {images} "
        "images. A difference is clear where both ends have the same sign.",
        "괄호 안은 이미지 {images}장을 기준으로 한 {confidence} 신뢰구간입니다. 차이의 양 끝 "
        "부호가 "
        "같으면 확실한 차이입니다.",
    ),
    "unmeasured": Text(
        "Version {version} could not be measured: {problem}",
        "버전 {version}을(를) 측정하지 못했습니다. 사유: {problem}",
    ),
    # Speed and size.
    "cost": Text("Speed and size", "속도와 크기"),
    "cost.size": Text(
        "{model} takes {size} KiB instead of {source} KiB.",
        "{model}의 크기는 {size} KiB입니다(원본 {source} KiB).",
    ),
    "cost.FASTER": Text(
        "{model} is faster than its source: {speedup} times ({low} to {high}).",
        "{model}은(는) 원본보다 {speedup}배 빠릅니다({low} \\~ {high}배).",
    ),
    "cost.SLOWER": Text(
        "{model} is **slower** than its source: {speedup} times as fast ({low} to {high}).",
        "{model}은(는) 원본보다 **느립니다**. 속도 비율 {speedup}배({low} \\~ {high}배).",
    ),
    "cost.INCONCLUSIVE": Text(
        "Whether {model} is faster than its source is open: {speedup} times ({low} to {high}).",
        "{model}이(가) 원본보다 빠른지는 확실하지 않습니다. 속도 비율 {speedup}배({low} \\~ "
        "{high}배).",
    ),
    "cost.unmeasured": Text(
        "How fast it is was not measured on such a machine; measured on: {elsewhere}.",
        "이 기종에서는 속도를 측정하지 않았습니다. 측정한 기종: {elsewhere}.",
    ),
    "cost.where": Text(
        "Time for one frame, measured on {cpu} ({instructions}), {threads} thread(s), {side} px, "
        "{frames} frames. Other processors give other figures.",
        "프레임 1장 처리 시간입니다. 측정 환경: {cpu}({instructions}), 스레드 {threads}개, {side} "
        "px, "
        "{frames}프레임. 다른 프로세서에서는 값이 달라집니다.",
    ),
    "cost.precision": Text("computed in", "연산 정밀도"),
    "cost.default": Text("FP32, as OpenVINO chooses", "FP32 (OpenVINO 기본 설정)"),
    # What is asked, by whom, and what an answer holds for.
    "asks": Text(
        "`{model}`: version **{version}** asks to become @champion; @champion now: {now}. "
        "Requested by {who}{why}.",
        "`{model}`: 버전 **{version}**을(를) 운영 모델(@champion)로 적용해 달라는 요청입니다. "
        "현재 @champion: {now}. 요청자: {who}{why}.",
    ),
    "asks.why": Text(" ({reason})", " (사유: {reason})"),
    "asks.none": Text("there is none yet", "아직 없음"),
    "asks.version": Text("version {version}", "버전 {version}"),
    "needs": Text(
        "An approval needs {policy}, until {until}, and holds for this alone (bound to "
        "`{binding}`): these files, figures, rules and champions.",
        "승인 요건: {policy}. 기한: {until}. 이 승인은 여기에 제시된 파일, 측정값, 기준, 현재 "
        "모델에만 "
        "유효합니다(식별값 `{binding}`).",
    ),
    "needs.until": Text("{utc} UTC", "{local}(한국 시간, {utc} UTC)"),
    "policy.one": Text("one person", "1명의 승인"),
    "policy.two": Text("two different people", "서로 다른 2명의 승인"),
    "policy.of": Text("{count} of {names}", "{names} 중 {count}"),
    "policy.four_eyes": Text("not who asked", "요청자 본인 제외"),
    "policy.code": Text("each with a one-time code", "각자 일회용 코드 입력"),
    "policy.name": Text("by name", "이름 기재"),
    "moves": Text("What will move", "변경되는 별칭"),
    "warnings": Text("Worth knowing", "참고 사항"),
    # Where it comes from.
    "lineage": Text("Where it comes from", "모델의 출처"),
    "lineage.trained": Text(
        "Trained from scenario {scenario}, measured on {images} images that version {version} has "
        "not learned from.",
        "시나리오 {scenario}(으)로 학습했으며, 버전 {version}이(가) 학습에 사용하지 않은 이미지 "
        "{images}장으로 측정했습니다.",
    ),
    "lineage.imported": Text(
        "Imported from {origin} for scenario {scenario}, measured on {images} images; whether it "
        "has learned from them, nobody here knows.",
        "시나리오 {scenario}용으로 {origin}에서 가져온 모델이며, 이미지 {images}장으로 "
        "측정했습니다. 이 "
        "이미지가 학습에 사용되었는지는 확인할 수 없습니다.",
    ),
    "lineage.unmeasured": Text(
        "Made for scenario {scenario}; measured on no image.",
        "시나리오 {scenario}용 모델이며, 측정에 사용한 이미지가 없습니다.",
    ),
    "lineage.unknown": Text("unknown", "알 수 없음"),
    "lineage.run": Text("training run", "학습 실행"),
    "lineage.commit": Text("commit of the code", "코드 커밋"),
    "lineage.unrecorded": Text("not recorded", "기록 없음"),
    "lineage.images": Text("{images} images", "이미지 {images}장"),
    "lineage.training": Text("images to learn from", "학습용 이미지"),
    "lineage.validation": Text("images to choose by", "검증용 이미지"),
    "lineage.evaluation": Text("images to measure on", "평가용 이미지"),
    "lineage.digest": Text("digest", "다이제스트"),
    "link.record": Text("evidence in MLflow", "MLflow의 증거 기록"),
    "link.version": Text("model version", "모델 버전"),
    # The form.
    "form.page": Text(
        "[See the pictures and all figures]({page})", "[사진과 전체 측정값 보기]({page})"
    ),
    "form.decision": Text("Decision", "결정"),
    "form.decision.about": Text(
        "approve or reject; there is no default.",
        "approve = 승인, reject = 반려. 기본으로 선택된 값은 없습니다.",
    ),
    "form.approver": Text("Approver", "승인자"),
    "form.approver.about": Text(
        "Who decides (declared).", "결정하시는 분의 성함을 입력해 주십시오."
    ),
    "form.reason": Text("Reason", "사유"),
    "form.reason.about": Text("Why.", "결정하신 이유를 입력해 주십시오."),
    "form.code": Text("Code", "일회용 코드"),
    "form.code.about": Text(
        "The code that your app shows now.", "인증 앱에 지금 표시된 6자리 코드를 입력해 주십시오."
    ),
    "form.anew": Text(
        "Asked anew: {why}. Earlier answers do not count.",
        "다시 승인을 요청드립니다. 이전 답변은 효력이 없습니다. 사유: {why}.",
    ),
    "form.unusable": Text(
        "The last answer could not be used ({why}). Please answer again.",
        "지난 답변을 처리하지 못했습니다({why}). 다시 답변해 주십시오.",
    ),
    "form.wrong_codes": Text(
        "{wrong} of {most} wrong codes; then this request is over.",
        "코드가 {wrong}회 틀렸습니다. {most}회 틀리면 이 요청은 종료됩니다.",
    ),
    "form.one_more": Text(
        "Approved by {who}; one more person is needed.",
        "{who} 님이 승인했습니다. 한 분의 승인이 더 필요합니다.",
    ),
    # Pictures.
    "pictures": Text("Where the two disagree", "두 버전의 결과가 다른 장면"),
    "pictures.first": Text("What it misses", "놓친 객체"),
    "pictures.some": Text(" ({shown} are shown)", " (그중 {shown}건 표시)"),
    "pictures.kept": Text(
        "White frame: a labelled object that was missed. Orange frame: a false alarm. People are "
        "on "
        "these pictures; they are deleted after {days} days.",
        "흰색 테두리는 놓친 객체, 주황색 테두리는 오검출입니다. 사람이 찍혀 있으므로 사진은 "
        "{days}일 후 "
        "삭제됩니다.",
    ),
    "pictures.none": Text(
        "This scenario keeps no pictures (evidence.picture_days: 0).",
        "이 시나리오는 사진을 보관하지 않습니다(evidence.picture_days: 0).",
    ),
    "pictures.deleted": Text("(deleted after {days} days)", "({days}일이 지나 삭제됨)"),
    "kind.lost": Text(
        "The champion finds it, the candidate misses it: {count}",
        "현재 모델은 검출하지만 후보 모델은 놓침: {count}건",
    ),
    "kind.gained": Text(
        "The candidate finds it, the champion misses it: {count}",
        "후보 모델은 검출하지만 현재 모델은 놓침: {count}건",
    ),
    "kind.new-alarm": Text(
        "False alarms of the candidate alone: {count}", "후보 모델에서만 발생한 오검출: {count}건"
    ),
    "kind.gone-alarm": Text(
        "False alarms of the champion alone: {count}", "현재 모델에서만 발생한 오검출: {count}건"
    ),
    "kind.missed": Text("Objects that it misses: {count}", "놓친 객체: {count}건"),
    "caption.lost": Text(
        "**{label}**: version {champion} shows it, version {candidate} does not ({why})",
        "**{label}**: 버전 {champion}은(는) 검출, 버전 {candidate}은(는) 미검출({why})",
    ),
    "caption.gained": Text(
        "**{label}**: version {candidate} shows it, version {champion} does not ({why})",
        "**{label}**: 버전 {candidate}은(는) 검출, 버전 {champion}은(는) 미검출({why})",
    ),
    "caption.missed": Text(
        "**{label}**: version {candidate} does not show it ({why})",
        "**{label}**: 버전 {candidate} 미검출({why})",
    ),
    "caption.new-alarm": Text(
        "**{label}**: version {candidate} shows one here (score {score}), and none is labelled",
        "**{label}**: 버전 {candidate}이(가) 검출했으나(점수 {score}) 정답 라벨에는 없음",
    ),
    "caption.gone-alarm": Text(
        "**{label}**: version {champion} shows one here (score {score}), and none is labelled",
        "**{label}**: 버전 {champion}이(가) 검출했으나(점수 {score}) 정답 라벨에는 없음",
    ),
    "caption.low": Text("score {score}, shown from {limit}", "점수 {score}, 표시 기준 {limit}"),
    "caption.unseen": Text("not even with a low score", "낮은 점수로도 검출되지 않음"),
}
