
# Added by `make install`: what `dagster` and `dvc` need to know of this project.
export DAGSTER_HOME="$(dirname "$VIRTUAL_ENV")/.dagster"
export DAGSTER_MODULE_NAME="assets.definitions"
export DVC_NO_ANALYTICS=1
export GX_ANALYTICS_ENABLED=false
