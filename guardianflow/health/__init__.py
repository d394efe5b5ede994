"""Health: is a champion failing now, is the camera, or has the scene changed; and what follows.

window      labelled frames -> measured, judged -> report          check_health
box         figures that an edge box posted -> judged -> report     post_report
verdict     the rules, pure                                         report: the record in MLflow
reaction    a failing report -> rollback, once, or the reason why nothing moved
watch       what nobody has answered yet
"""
