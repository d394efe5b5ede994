"""Access to MLflow: the server and what is stored on it, in our terms. No alias is moved here.

client             the only place that makes clients and translates MLflow's errors
rights             what the account of this process may do
registered_models  models, versions, aliases: reading only
artifacts          the files of a version: fingerprinted, verified before they are used
logged_models      the LoggedModel of a run, found or made
runs               runs of training, quantization and import: opened, filled, read
same_work          which runs are of the same work, and so are not done again
records            one run that holds a JSON document, pictures and figures
links              addresses in the MLflow UI
"""
