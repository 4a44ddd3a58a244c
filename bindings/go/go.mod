module github.com/checkpoint-restore/go-criu/v8

go 1.23

require google.golang.org/protobuf v1.36.6
