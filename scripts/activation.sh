
# Added by `make install`: what `dagster` and `dvc` need to know of this project.
export DAGSTER_HOME="$(dirname "$VIRTUAL_ENV")/.dagster"
export DAGSTER_MODULE_NAME="assets.definitions"
export DVC_NO_ANALYTICS=1
export GX_ANALYTICS_ENABLED=false

# `dagster dev` starts a webserver that refuses a module and a workspace at once.
dagster() {
    if [ "$1" = dev ]; then
        env -u DAGSTER_MODULE_NAME "$VIRTUAL_ENV/bin/dagster" "$@"
    else
        "$VIRTUAL_ENV/bin/dagster" "$@"
    fi
}
