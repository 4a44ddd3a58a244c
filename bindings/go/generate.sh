#!/bin/sh
# Writes the message types anew from the .proto files of this repository: needs protoc, and protoc-gen-go v1.36.6 in PATH.
#
# Messages get protobuf packages of their own and an extension number of their own (neither of which is on the wire or in an
# image), so that a program may link another binding of CRIU's messages too: Go's registry ends a program in which a name or
# number comes twice.
set -eu
cd "$(dirname "$0")"
protos=../../libcriu/images/proto
module=github.com/checkpoint-restore/go-criu/v8
room=$(mktemp -d)
trap 'rm -rf "$room"' EXIT
mkdir -p "$room/libcriu/images" "$room/libcriu/rpc" "$room/libcriu/stats"

packaged() { # FILE.proto PACKAGE > with the package named
  sed -e "s/^syntax = .*/&\npackage libcriu.$2;/" -e "s|^import \"\([a-z]\)|import \"libcriu/$2/\1|" \
      -e 's|"libcriu/[a-z]*/google/|"google/|' -e 's/CRIU_Opts criu = 1018/CRIU_Opts criu = 51018/' "$1"
}

options=--go_opt=module=$module
for file in "$protos"/*.proto; do
  name=$(basename "$file" .proto)
  [ "$name" = rpc ] && continue
  packaged "$file" images > "$room/libcriu/images/$name.proto"
  folder=$name
  case $name in core) folder=criu-core ;; sa) folder=criu-sa ;; esac
  options="$options --go_opt=Mlibcriu/images/$name.proto=$module/crit/images/$folder;$(echo "$folder" | tr - _)"
done
packaged "$protos/rpc.proto" rpc > "$room/libcriu/rpc/rpc.proto"
packaged "$protos/stats.proto" stats > "$room/libcriu/stats/stats.proto"
options="$options --go_opt=Mlibcriu/rpc/rpc.proto=$module/rpc --go_opt=Mlibcriu/stats/stats.proto=$module/stats"
rm -rf crit/images
rm -f rpc/*.pb.go stats/*.pb.go
# shellcheck disable=SC2046,SC2086 # words are wanted
protoc -I "$room" --go_out=. $options $(cd "$room" && find libcriu -name '*.proto' | sort)
