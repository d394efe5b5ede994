"""The catalog: the registered models as MLflow has them, in our words; nothing is moved here.

models     models, versions, aliases: reading only
artifacts  the files of a version: fingerprinted, verified before they are used
"""
