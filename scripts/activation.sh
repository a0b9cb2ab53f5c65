
# Added by `make install`: environment variables of `dagster` and `dvc`.
export DAGSTER_HOME="$(dirname "$VIRTUAL_ENV")/.dagster"
export DAGSTER_MODULE_NAME="assets.definitions"
export DVC_NO_ANALYTICS=1
export GX_ANALYTICS_ENABLED=false
# Dagster recommends `dg launch`, which needs another package.
export PYTHONWARNINGS='ignore:Function `asset_materialize_command` is superseded'

# `dagster dev` rejects a module in the environment when there is a workspace.yaml.
dagster() {
    if [ "$1" = dev ]; then
        env -u DAGSTER_MODULE_NAME "$VIRTUAL_ENV/bin/dagster" "$@"
    else
        "$VIRTUAL_ENV/bin/dagster" "$@"
    fi
}
