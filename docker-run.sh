#!/usr/bin/env bash
# ./docker-run.sh start [--quick] | stop | logs [SERVICE] | shell: the stack of docker-compose.yml.
set -euo pipefail
cd "$(dirname "$0")"
usage() { echo "docker-run.sh: give start [--quick], stop, logs [SERVICE] or shell" >&2; exit 2; }
[ $# -ge 1 ] || usage
case "$1" in start | stop | logs | shell) ;; *) usage ;; esac
command -v docker >/dev/null || { echo "docker-run.sh: Docker is not installed; make up starts the stack without it" >&2; exit 2; }
profile=full
case "$1" in
  start)
    case "${2:-}" in "") ;; --quick) profile=api ;; *) usage ;; esac
    docker compose --profile "$profile" up --build --detach --wait ;;
  stop) docker compose --profile api --profile full --profile dev --profile gpu down ;;
  logs) docker compose --profile api --profile full --profile dev --profile gpu logs --follow --tail 100 ${2:+"$2"} ;;
  shell) docker compose --profile full exec api-full bash ;;
esac
