"""The sentences of the approver's form and page in plain words, in English and Korean.

`figure_phrases.py` has the texts of figures and tables; `language.py` fills all of them in.
"""

from typing import NamedTuple


class Phrase(NamedTuple):
    """One text in every language; its placeholders are the same in all."""

    en: str
    ko: str


PHRASES: dict[str, Phrase] = {
    # The opening: what gets worse, what is not certain, what gets better.
    "open.worse": Phrase("Worse: {changes}.", "나빠짐: {changes}."),
    "open.no_worse": Phrase("Nothing gets clearly worse.", "확실히 나빠지는 점은 없습니다."),
    "open.better": Phrase("Better: {changes}.", "좋아짐: {changes}."),
    "open.doubtful": Phrase("Not certain: {changes}.", "불확실: {changes}."),
    "open.same": Phrase(
        "No difference that these {images} pictures can show.",
        "사진 {images}장으로는 차이가 확인되지 않습니다.",
    ),
    "open.few": Phrase(
        "Only {images} pictures, {wanted} needed: nothing here is certain.",
        "사진이 {images}장뿐입니다({wanted}장 필요). 어떤 수치도 확실하지 않습니다.",
    ),
    "open.on_them": Phrase("On these pictures: {changes}.", "이 사진에서는: {changes}."),
    "open.first": Phrase(
        "The first version here: nothing to compare with.", "첫 버전이라 비교할 대상이 없습니다."
    ),
    "open.alone": Phrase(
        "Today's version could not be measured, so nothing can be compared: ask an engineer why.",
        "현재 버전을 측정하지 못해 비교할 수 없습니다. 엔지니어에게 원인을 확인해 주십시오.",
    ),
    "open.misses": Phrase(
        "Of 100 it misses: {levels}. False alarms in 100 pictures: {alarms}.",
        "100개당 놓치는 수: {levels}. 사진 100장당 오검출: {alarms}건.",
    ),
    "open.unmeasured": Phrase(
        "Nothing could be measured, so it is not known what changes: ask an engineer why.",
        "측정하지 못해 무엇이 달라지는지 알 수 없습니다. 엔지니어에게 원인을 확인해 주십시오.",
    ),
    "open.seen": Phrase(
        "Today's version may have been trained on these pictures, so it may look better than it "
        "is.",
        "현재 버전은 이 사진으로 학습했을 수 있어 실제보다 좋게 측정되었을 수 있습니다.",
    ),
    "open.misses.rest": Phrase("the others not more", "그 외는 더 많지 않음"),
    "change.found": Phrase(
        "{name} found in {after} of 100, today {before}",
        "{name} 100건 중 {after}건 검출(현재 {before}건)",
    ),
    "change.found.brief": Phrase(
        "{name} {after} of 100, today {before}", "{name} {after}건(현재 {before}건)"
    ),
    "change.alarms": Phrase(
        "{after} false alarms in 100 pictures, today {before}",
        "사진 100장당 오검출 {after}건(현재 {before}건)",
    ),
    "change.more": Phrase("{count} more", "그 외 {count}가지"),
    "level.today": Phrase(
        "Missed most today: {name}, {missed} of 100; {allowed}.",
        "현재 가장 많이 놓치는 것: {name} 100건 중 {missed}건, {allowed}.",
    ),
    "level.first": Phrase(
        "Missed most: {name}, {missed} of 100; {allowed}.",
        "가장 많이 놓치는 것: {name} 100건 중 {missed}건, {allowed}.",
    ),
    "level.furthest": Phrase(
        "**Furthest beyond its limit**: {name}, {missed} of 100; {limit} allowed.",
        "**한도를 가장 크게 넘은 것**: {name} 100건 중 {missed}건, 허용 한도 {limit}건.",
    ),
    "level.none": Phrase("no limit is set", "정해진 한도 없음"),
    "level.within": Phrase("{limit} allowed", "허용 한도 {limit}건"),
    "level.beyond": Phrase("**too many**: {limit} allowed", "허용 한도 {limit}건 **초과**"),
    # What must not be overlooked.
    "alert.stays": Phrase(
        "The cameras keep today's version: this request does not change what runs there.",
        "카메라에서 실행되는 버전은 이 요청으로 바뀌지 않습니다.",
    ),
    "alert.apart": Phrase(
        "This request leaves out the smaller version that is made for the cameras.",
        "카메라용 경량 버전은 이 요청에 포함되지 않습니다.",
    ),
    "alert.unmeasured": Phrase(
        "The version for the cameras could not be measured: these figures are of the full-size "
        "one.",
        "카메라용 버전은 측정하지 못했습니다. 수치는 경량화 이전 버전의 것입니다.",
    ),
    "alert.forced": Phrase(
        "{who} asks although the automatic check says no. Reason given: {why}.",
        "자동 점검은 불합격이지만 {who} 님이 요청했습니다. 사유: {why}.",
    ),
    # The automatic check: its outcome, and what it did and did not judge.
    "check": Phrase("The automatic check", "자동 점검"),
    "check.PASSED": Phrase(
        "Automatic check: no set limit is broken.", "자동 점검: 정해진 한도 위반 없음."
    ),
    "check.INCONCLUSIVE": Phrase(
        "Automatic check: cannot tell ({why}).", "자동 점검: 판정 불가({why})."
    ),
    "check.FAILED": Phrase("Automatic check: **no** ({why}).", "자동 점검: **불합격**({why})."),
    "check.PASSED.short": Phrase(
        "No set limit is broken.", "정해진 한도를 벗어난 항목이 없습니다."
    ),
    "check.INCONCLUSIVE.short": Phrase(
        "It cannot tell, so you decide:", "판정할 수 없어 담당자의 판단이 필요합니다."
    ),
    "check.FAILED.short": Phrase("It says **no**:", "**불합격**입니다."),
    "check.looked": Phrase("Checked: {looked}.", "점검한 항목: {looked}."),
    "check.few": Phrase("Automatic check: cannot tell either.", "자동 점검: 역시 판정 불가."),
    "check.left": Phrase("**It did not judge**: {left}.", "**점검하지 않은 항목**: {left}."),
    "look.overall": Phrase("overall accuracy", "전체 정확도"),
    "look.classes": Phrase("each class by itself", "클래스별 검출"),
    "look.some": Phrase("{names}", "{names} 검출"),
    "look.a_class": Phrase("a class", "일부 클래스"),
    "look.alarms": Phrase("false alarms", "오검출"),
    "look.speed": Phrase("speed", "처리 속도"),
    "look.known": Phrase("whether it was trained on the pictures", "사진의 사전 학습 여부"),
    "look.back": Phrase("the way back", "되돌릴 버전"),
    "look.dark": Phrase("night (no dark picture)", "야간(어두운 사진 없음)"),
    "why.variant": Phrase("about the version for the cameras: {why}", "카메라용 버전: {why}"),
    "why.source": Phrase("about the full-size version: {why}", "경량화 이전 버전: {why}"),
    "why.measured": Phrase("it could not be measured", "측정 불가"),
    "why.enough images": Phrase(
        "only {measured} pictures, {limit} needed", "사진 {measured}장뿐, {limit}장 필요"
    ),
    "why.absolute floor.FAILED": Phrase("its overall accuracy is too low", "전체 정확도 미달"),
    "why.absolute floor.INCONCLUSIVE": Phrase(
        "whether its overall accuracy is high enough is not certain",
        "전체 정확도가 충분한지 불확실",
    ),
    "why.no regression.FAILED": Phrase(
        "overall it is less accurate than today", "현재보다 전체 정확도 하락"
    ),
    "why.no regression.INCONCLUSIVE": Phrase(
        "whether it is as accurate as today is not certain", "현재만큼 정확한지 불확실"
    ),
    "why.no regression: recall.FAILED": Phrase(
        "{name} is found too much less often than today", "{name} 검출이 현재보다 크게 감소"
    ),
    "why.no regression: recall.INCONCLUSIVE": Phrase(
        "whether {name} is found as often as today is not certain",
        "{name} 검출이 현재만큼 되는지 불확실",
    ),
    "why.miss rate.FAILED": Phrase(
        "of 100 {name} {measured} are missed, {limit} allowed",
        "{name} 100개당 {measured}개 놓침, 한도 {limit}개",
    ),
    "why.miss rate.INCONCLUSIVE": Phrase(
        "whether of 100 {name} at most {limit} are missed is not certain",
        "{name} 100개당 놓치는 수가 {limit}개 이하인지 불확실",
    ),
    "why.false alarms.FAILED": Phrase(
        "{measured} false alarms in 100 pictures, {limit} allowed",
        "사진 100장당 오검출 {measured}건, 한도 {limit}건",
    ),
    "why.false alarms.INCONCLUSIVE": Phrase(
        "whether there are at most {limit} false alarms in 100 pictures is not certain",
        "오검출이 사진 100장당 {limit}건 이하인지 불확실",
    ),
    "why.latency.FAILED": Phrase("it is too slow", "처리 속도 미달"),
    "why.latency.INCONCLUSIVE": Phrase(
        "whether it is fast enough is not certain", "처리 속도가 충분한지 불확실"
    ),
    "why.data contamination.FAILED": Phrase(
        "it was trained on {measured} of these pictures", "이 사진 중 {measured}장으로 이미 학습함"
    ),
    "why.data contamination.INCONCLUSIVE": Phrase(
        "whether it was trained on these pictures is not known", "이 사진으로 학습했는지 알 수 없음"
    ),
    "why.way back.FAILED": Phrase(
        "there would be no version to go back to", "되돌릴 버전이 없게 됨"
    ),
    "why.way back.INCONCLUSIVE": Phrase(
        "not everything could be rolled back", "일부는 되돌릴 수 없음"
    ),
    "why.as good as its source: accuracy.FAILED": Phrase(
        "made smaller for the cameras, it lost accuracy", "카메라용 경량화로 정확도 하락"
    ),
    "why.as good as its source: accuracy.INCONCLUSIVE": Phrase(
        "made smaller for the cameras, it may have lost accuracy",
        "카메라용 경량화로 정확도가 하락했는지 불확실",
    ),
    "why.as good as its source: recall.FAILED": Phrase(
        "made smaller for the cameras, it finds {name} less often",
        "카메라용 경량화로 {name} 검출 감소",
    ),
    "why.as good as its source: recall.INCONCLUSIVE": Phrase(
        "made smaller for the cameras, it may find {name} less often",
        "카메라용 경량화로 {name} 검출이 감소했는지 불확실",
    ),
    "why.faster than its source.FAILED": Phrase(
        "made smaller for the cameras, it is not fast enough", "카메라용으로 경량화했으나 속도 미달"
    ),
    "why.faster than its source.INCONCLUSIVE": Phrase(
        "whether it is fast enough for the cameras is not certain",
        "카메라에서 속도가 충분한지 불확실",
    ),
    # The table of the floor.
    "floor": Phrase("Found of 100", "100개당 검출 수"),
    "floor.today": Phrase("today", "현재"),
    "floor.new": Phrase("new", "새 버전"),
    "floor.change": Phrase("change", "변화"),
    "floor.alarms": Phrase("false alarms", "오검출"),
    "floor.about": Phrase(
        "False alarms are counted in 100 pictures.", "오검출은 사진 100장당 건수입니다."
    ),
    "floor.about.sure": Phrase(
        "A **bold** change is certain; any other may be chance ({images} pictures, {confidence} "
        "confidence).",
        "**굵은 글씨**는 확실한 변화이며, 나머지는 우연일 수 있습니다(사진 {images}장, 신뢰수준 "
        "{confidence}).",
    ),
    "floor.about.unsure": Phrase(
        "Every change here may be chance ({images} pictures, {confidence} confidence).",
        "모든 변화는 우연일 수 있습니다(사진 {images}장, 신뢰수준 {confidence}).",
    ),
    # Who requests what, what an answer does, and the outcome.
    "where": Phrase("{place}, all cameras; {task}.", "{place}, 전체 카메라. 과제: {task}."),
    "measured": Phrase("Measured on {images} pictures{light}.", "사진 {images}장으로 측정{light}."),
    "light": Phrase(", {dark} of them dark", "(어두운 사진 {dark}장)"),
    "light.none": Phrase(
        ", none of them dark: how it works at night is not known",
        "(어두운 사진이 없어 야간 성능은 알 수 없음)",
    ),
    "asked": Phrase("Requested by {who}{why}.", "요청자: {who}{why}."),
    "asked.why": Phrase(", reason: {reason}", ", 사유: {reason}"),
    "approve": Phrase(
        "approve: version {version} goes into use.", "approve(승인): {version}번 버전 적용."
    ),
    "approve.stays": Phrase(
        "approve: version {version} is accepted, the cameras stay as they are.",
        "approve(승인): {version}번 버전 채택, 카메라는 그대로.",
    ),
    "reject": Phrase("reject: version {before} stays.", "reject(반려): {before}번 버전 유지."),
    "reject.first": Phrase("reject: nothing changes.", "reject(반려): 지금 그대로 유지."),
    "undo": Phrase(
        "Undo: the person on call can go back to version {before}.",
        "승인 후에도 담당자가 {before}번 버전으로 되돌릴 수 있음.",
    ),
    "undo.unsure": Phrase(
        "Undo: going back to version {before} may be refused; ask an engineer before you approve.",
        "승인 후 {before}번 버전으로 되돌리지 못할 수 있으니, 먼저 엔지니어에게 확인해 주십시오.",
    ),
    "undo.first": Phrase(
        "Undo: there is no earlier version to go back to.", "첫 버전이라 되돌릴 버전은 없음."
    ),
    "answered.approve": Phrase(
        "Approved by {who}: {why}. Version {version} is now in use at {place}; version {before} is "
        "kept to go back to.",
        "{who} 님이 승인했습니다(사유: {why}). 이제 {place}에 {version}번 버전이 적용되며, "
        "{before}번 버전으로 되돌릴 수 있습니다.",
    ),
    "answered.approve.first": Phrase(
        "Approved by {who}: {why}. Version {version} is now in use at {place}.",
        "{who} 님이 승인했습니다(사유: {why}). 이제 {place}에 {version}번 버전이 적용됩니다.",
    ),
    "answered.approve.unsure": Phrase(
        "Approved by {who}: {why}. Version {version} is now in use at {place}; going back to "
        "version {before} may be refused.",
        "{who} 님이 승인했습니다(사유: {why}). 이제 {place}에 {version}번 버전이 적용되며, "
        "{before}번 버전으로 되돌리지 못할 수 있습니다.",
    ),
    "answered.approve.stays": Phrase(
        "Approved by {who}: {why}. Version {version} is accepted; the cameras of {place} stay as "
        "they are.",
        "{who} 님이 승인했습니다(사유: {why}). {version}번 버전이 채택되었으며, {place}의 "
        "카메라는 그대로입니다.",
    ),
    "answered.reject": Phrase(
        "The rejection by {who} is recorded: {why}. Version {before} stays in use at {place}.",
        "{who} 님의 반려가 기록되었습니다(사유: {why}). {place}에는 {before}번 버전이 계속 "
        "적용됩니다.",
    ),
    "answered.reject.first": Phrase(
        "The rejection by {who} is recorded: {why}. At {place} nothing changes.",
        "{who} 님의 반려가 기록되었습니다(사유: {why}). {place}에는 바뀌는 것이 없습니다.",
    ),
    "ended.late": Phrase(
        "The time to answer ended at {until}. Nothing was changed; the requester can ask again.",
        "답변 기한이 {until}에 끝났습니다. 변경된 것은 없으며, 요청자가 다시 요청할 수 있습니다.",
    ),
    "ended.clock": Phrase(
        "A clock was wrong, so it is not known whether the answer came in time. Nothing was "
        "changed; the requester can ask again.",
        "시계가 맞지 않아 기한 안의 답변인지 알 수 없습니다. 변경된 것은 없으며, 요청자가 다시 "
        "요청할 수 있습니다.",
    ),
    "ended.codes": Phrase(
        "{most} one-time codes were wrong, so this request has ended ({why}).",
        "일회용 코드가 {most}회 틀려 이 요청은 종료되었습니다({why}).",
    ),
    "ended.rounds": Phrase(
        "Approval was requested {rounds} times, and every answer became void. Last reason: {why}.",
        "승인을 {rounds}회 요청했으나 답변이 모두 무효가 되어 종료되었습니다. 마지막 사유: {why}.",
    ),
    "needs": Phrase(
        "An approval needs {policy}; please answer by {until}.",
        "승인 요건: {policy}. 기한: {until}.",
    ),
    "until": Phrase("{utc} UTC", "{local}(한국 시간)"),
    "binding": Phrase(
        "An approval is valid only for these files, figures, rules and champions (bound to "
        "`{binding}`).",
        "이 승인은 여기에 제시된 파일, 측정값, 기준, 현재 모델에만 유효합니다(식별값 `{binding}`).",
    ),
    # The fields of the form.
    "form.page": Phrase("[Pictures and all figures]({page})", "[사진과 전체 수치 보기]({page})"),
    "form.needs": Phrase("An approval needs {policy}.", "승인 요건: {policy}."),
    "form.decision": Phrase("Decision for {place} ({task})", "{place} ({task}) 결정"),
    "form.list": Phrase("The arrows open the list.", "목록은 화살표를 눌러 엽니다."),
    "form.approver": Phrase("Your name", "성함"),
    "form.approver.about": Phrase("Please answer by {until}.", "답변 기한: {until}"),
    "form.reason": Phrase("Why? One sentence.", "사유 (한 문장)"),
    "form.code": Phrase("Code", "일회용 코드"),
    "form.code.about": Phrase(
        "The code that your app shows now.", "인증 앱에 지금 표시된 6자리 코드를 입력해 주십시오."
    ),
    "form.anew": Phrase(
        "Please answer again: {why}. Earlier answers do not count.",
        "다시 승인을 요청드립니다. 이전 답변은 효력이 없습니다. 사유: {why}.",
    ),
    "form.unusable": Phrase(
        "The last answer could not be used ({why}). Please answer again.",
        "지난 답변을 처리하지 못했습니다({why}). 다시 답변해 주십시오.",
    ),
    "form.wrong_codes": Phrase(
        "{wrong} of {most} wrong codes; after {most} this request ends.",
        "코드가 {wrong}회 틀렸습니다. {most}회 틀리면 이 요청은 종료됩니다.",
    ),
    "form.one_more": Phrase(
        "Approved by {who}; one more person is needed.",
        "{who} 님이 승인했습니다. 한 분의 승인이 더 필요합니다.",
    ),
    # For messages recorded in English (`promotion/recorded_messages.py`).
    "recorded.rejected": Phrase(
        "{who} rejected this version before: {why}.",
        "이전에 {who} 님이 이 버전을 반려했습니다(사유: {why}).",
    ),
    "recorded.champion": Phrase(
        "version {version} went into use meanwhile", "그사이 {version}번 버전이 적용됨"
    ),
    "recorded.champion.none": Phrase(
        "no version is in use any more", "그사이 사용 중인 버전이 없어짐"
    ),
    "recorded.policy": Phrase(
        "the rules for approvals were changed meanwhile", "그사이 승인 규칙이 변경됨"
    ),
    "recorded.approver": Phrase(
        "{who} is not one of the approvers: {names}", "{who} 님은 승인자가 아님, 승인자: {names}"
    ),
    "recorded.requester": Phrase(
        "{who} asked for it, so somebody else has to approve it",
        "{who} 님은 요청자이므로 다른 사람의 승인이 필요함",
    ),
    "recorded.again": Phrase(
        "{who} has approved already, and another person is needed",
        "{who} 님은 이미 승인했으므로 다른 사람의 승인이 필요함",
    ),
    "recorded.code": Phrase(
        "the one-time code is wrong or too old", "일회용 코드가 틀렸거나 유효 시간이 지남"
    ),
    "recorded.spent": Phrase(
        "the one-time code was used before; wait for the next one",
        "이미 사용한 일회용 코드이므로 다음 코드를 입력해야 함",
    ),
    "recorded.name": Phrase("the name is too short", "성함이 너무 짧음"),
    "recorded.reason": Phrase("the reason is too short", "사유가 너무 짧음"),
    "recorded.worker": Phrase(
        "this worker cannot check codes: {why}", "이 워커에서 코드를 확인할 수 없음, 기록: {why}"
    ),
    "recorded.gate": Phrase(
        "the limits of the automatic check were changed meanwhile", "그사이 자동 점검 기준이 변경됨"
    ),
    "recorded.health": Phrase(
        "the limits of the health checks were changed meanwhile",
        "그사이 운영 중 감시 기준이 변경됨",
    ),
    "recorded.evidence": Phrase(
        "the settings for the pictures were changed meanwhile", "그사이 사진 관련 설정이 변경됨"
    ),
    "recorded.language": Phrase(
        "the language of this form was changed meanwhile", "그사이 이 양식의 언어가 변경됨"
    ),
    "recorded.deleted": Phrase(
        "version {version} was deleted meanwhile", "그사이 {version}번 버전이 삭제됨"
    ),
    "recorded.file": Phrase(
        "its file {file} was replaced meanwhile", "그사이 버전의 파일이 바뀜({file})"
    ),
    "recorded.scenario": Phrase(
        "the record of its origin was changed meanwhile", "그사이 버전의 출처 기록이 변경됨"
    ),
    "recorded.files": Phrase(
        "the files of the version cannot be used: {why}",
        "버전의 파일을 사용할 수 없음(기록: {why})",
    ),
    "recorded.release": Phrase(
        "the versions that would go into use now are not those that were shown",
        "지금 적용될 버전이 승인 요청 당시와 다름",
    ),
    "recorded.unreadable": Phrase(
        "the record of what was asked cannot be read any more",
        "승인 요청 기록을 더 이상 읽을 수 없음",
    ),
    "recorded.record": Phrase(
        "the record of what was asked was changed", "승인 요청 기록이 변경됨"
    ),
    "recorded.no_way_back": Phrase(
        "As long as version {version} is champion, {model} cannot be rolled back: there is no "
        "earlier good champion to go back to.",
        "{model}: {version}번 버전이 적용된 동안에는 되돌릴 수 없습니다(그 이전의 정상 버전 없음).",
    ),
    "recorded.stays": Phrase(
        "{model} stays at version {version}, made from version {source} of {base}: the floor still "
        "runs the {age} model until {command}{more}.",
        "{model}: {base}의 {source}번 버전에서 만든 {version}번 버전이 그대로 적용됩니다. 현장 "
        "카메라의 버전은 {command} 후 승격해야 바뀝니다.",
    ),
    "recorded.apart": Phrase(
        "{model} is not promoted with it and has no champion until {command}{more}.",
        "{model}: 함께 승격되지 않으며, {command} 후 승격해야 사용할 버전이 생깁니다.",
    ),
    "recorded.interrupted": Phrase(
        "{what}; it was interrupted and is finished {when}.",
        "중단되었던 작업을 먼저 완료합니다(기록: {what}).",
    ),
    "recorded.other": Phrase("{why}", "승인을 그대로 적용할 수 없음(기록: {why})"),
    # Pictures.
    "pictures": Phrase("Where the two disagree", "두 버전의 결과가 다른 장면"),
    "pictures.first": Phrase("What it misses", "놓친 객체"),
    "pictures.some": Phrase(" ({shown} shown)", " (그중 {shown}건 표시)"),
    "pictures.kept": Phrase(
        "White frame: a person or thing that was missed. Orange frame: a false alarm. Below a dark "
        "picture is a lightened copy. The pictures show people, so they are deleted after {days} "
        "days.",
        "흰색 테두리는 놓친 대상, 주황색 테두리는 오검출입니다. 어두운 사진은 아래에 밝게 보정한 "
        "사진을 함께 표시합니다. 사람이 찍혀 있으므로 사진은 {days}일 후 삭제됩니다.",
    ),
    "pictures.none": Phrase(
        "This scenario keeps no pictures (evidence.picture_days: 0).",
        "이 시나리오는 사진을 보관하지 않습니다(evidence.picture_days: 0).",
    ),
    "pictures.deleted": Phrase("(deleted after {days} days)", "({days}일이 지나 삭제됨)"),
    "kind.lost": Phrase(
        "Today's version finds it, the new one misses it: {count}",
        "현재 버전은 검출하지만 새 버전은 놓침: {count}건",
    ),
    "kind.gained": Phrase(
        "The new version finds it, today's misses it: {count}",
        "새 버전은 검출하지만 현재 버전은 놓침: {count}건",
    ),
    "kind.new-alarm": Phrase(
        "False alarms only of the new version: {count}", "새 버전에서만 발생한 오검출: {count}건"
    ),
    "kind.gone-alarm": Phrase(
        "False alarms only of today's version: {count}", "현재 버전에서만 발생한 오검출: {count}건"
    ),
    "kind.missed": Phrase("Missed: {count}", "놓친 대상: {count}건"),
    "caption.lost": Phrase(
        "**{label}**: today's version shows it, the new one {how}.",
        "**{label}**: 현재 버전은 검출. 새 버전은 {how}.",
    ),
    "caption.gained": Phrase(
        "**{label}**: the new version shows it, today's {how}.",
        "**{label}**: 새 버전은 검출. 현재 버전은 {how}.",
    ),
    "caption.missed": Phrase("**{label}**: it {how}.", "**{label}**: {how}."),
    "caption.new-alarm": Phrase(
        "**{label}**: the new version shows one here, {how}.",
        "**{label}**: 새 버전이 여기에 표시했으나 {how}.",
    ),
    "caption.gone-alarm": Phrase(
        "**{label}**: today's version shows one here, {how}.",
        "**{label}**: 현재 버전이 여기에 표시했으나 {how}.",
    ),
    "missed.NOTHING": Phrase("sees nothing there", "아무것도 검출하지 못함"),
    "missed.UNSURE": Phrase("is not sure enough to show it", "확신이 부족해 표시하지 않음"),
    "missed.MISPLACED": Phrase("puts its frame beside it", "테두리 위치가 어긋남"),
    "missed.OTHER_CLASS": Phrase("takes it for something else", "다른 것으로 판단함"),
    "alarm.NOTHING": Phrase("where none is marked", "정답에는 표시된 대상이 없음"),
    "alarm.MISPLACED": Phrase(
        "but its frame does not fit the one that is there", "테두리 위치가 어긋남"
    ),
    "alarm.DOUBLE": Phrase("a second time on the same one", "같은 대상에 중복 표시함"),
    "alarm.OTHER_CLASS": Phrase("but something else is there", "실제로는 다른 것임"),
    "alarm.UNSAID": Phrase("which differs from what is marked", "표시된 정답과 다름"),
    # The glossary.
    "words": Phrase("What the words mean", "용어 설명"),
    "word.version": Phrase(
        "one state of the detector; today's version is the one in use now",
        "검출 프로그램의 한 상태. 현재 버전은 지금 감시 중인 버전입니다",
    ),
    "word.class": Phrase(
        "what is looked for: person, helmet, mask", "찾는 대상: 사람, 안전모, 마스크 등"
    ),
    "word.found": Phrase(
        "how many of 100 on the pictures were shown", "사진에 있는 100개 가운데 검출된 수"
    ),
    "word.alarm": Phrase(
        "something was shown that is not there, or in the wrong place",
        "없는 것을 표시했거나 위치가 틀린 경우",
    ),
    "word.champion": Phrase(
        "the version in use now; candidate: the one proposed to replace it; rollback: the one to "
        "go back to",
        "지금 감시 중인 버전. candidate는 후보 버전, rollback은 되돌릴 버전입니다",
    ),
    "word.int8": Phrase(
        "the detector made smaller for the computers at the cameras; FP32: as it was trained",
        "카메라 옆 컴퓨터용으로 경량화한 버전. FP32는 학습된 그대로의 버전입니다",
    ),
    "word.map": Phrase(
        "accuracy over all classes and degrees of certainty, 1 is perfect; 50-95: the same, where "
        "frames have to fit more closely",
        "모든 클래스와 확신도에 걸친 정확도(1이 최고). 50-95는 테두리 위치를 더 엄격하게 본 "
        "값입니다",
    ),
    "word.gate": Phrase(
        "the automatic check: rules that the plant's engineers set; INCONCLUSIVE: it cannot tell",
        "자동 점검. 엔지니어가 정한 기준으로 판정하며, INCONCLUSIVE는 판정할 수 없다는 뜻입니다",
    ),
}

KOREAN_CLASSES = {
    "person": "사람",
    "worker": "작업자",
    "helmet": "안전모",
    "hardhat": "안전모",
    "hard_hat": "안전모",
    "no_helmet": "안전모 미착용",
    "no_hardhat": "안전모 미착용",
    "mask": "마스크",
    "no_mask": "마스크 미착용",
    "vest": "안전조끼",
    "safety_vest": "안전조끼",
    "no_safety_vest": "안전조끼 미착용",
    "no_vest": "안전조끼 미착용",
    "gloves": "장갑",
    "no_gloves": "장갑 미착용",
    "goggles": "보안경",
    "boots": "안전화",
    "safety_boots": "안전화",
    "harness": "안전대",
}
"""Classes by their key (`names.class_key`), in the words of Korean floors."""

GLOSSARY: tuple[tuple[str, str], ...] = (
    ("version", "word.version"),
    ("class", "word.class"),
    ("found of 100", "word.found"),
    ("false alarm", "word.alarm"),
    ("champion", "word.champion"),
    ("INT8", "word.int8"),
    ("mAP50, mAP50-95", "word.map"),
    ("gate", "word.gate"),
)
"""The terms of the page, and the key of each explanation."""
