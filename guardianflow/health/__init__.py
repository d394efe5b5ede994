"""Health: whether a champion fails, the camera is at fault or the scene changed; what follows.

window          labelled frames -> measured, judged -> report            check_health
box_reports     figures that an edge box posted -> judged -> report      post_report
verdict         the rules, pure; limits: of a champion, by its scenario
report          the record in MLflow; figures: of a window
champion_since  what a report has to be newer than
reaction        a failing report -> one rollback, or why nothing moved; what was not reacted to
incident        the page on a rollback
"""
