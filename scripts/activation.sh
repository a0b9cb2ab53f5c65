
# Added by `make install`: environment variables of `dagster` and `dvc`.
export DAGSTER_HOME="$(dirname "$VIRTUAL_ENV")/.dagster"
export DVC_NO_ANALYTICS=1
export GX_ANALYTICS_ENABLED=false
# Dagster recommends `dg launch`, which needs another package.
export PYTHONWARNINGS='ignore:Function `asset_materialize_command` is superseded'

# `dagster asset` and `dagster job` do not read pyproject.toml. The variable is not exported: `dagster dev` starts
# processes that it gives a workspace, and one that inherits a module, too, waits for ever.
dagster() {
    if [ "${1-}" = dev ]; then
        "$VIRTUAL_ENV/bin/dagster" "$@"
    else
        DAGSTER_MODULE_NAME=assets.definitions "$VIRTUAL_ENV/bin/dagster" "$@"
    fi
}
