"""Health: is a champion failing now, is the camera, or has the scene changed; and what follows.

window          labelled frames -> measured, judged -> report            check_health
box_reports     figures that an edge box posted -> judged -> report      post_report
verdict         the rules, pure; limits: of a champion, by its scenario
report          the record in MLflow; figures: of a window
champion_since  what a report has to be newer than
reaction        a failing report -> rollback, once, or the reason why nothing moved
incident        the page on a rollback
unanswered      failing reports to which nothing has happened yet
"""
