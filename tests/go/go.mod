module consumer

go 1.23

require (
	github.com/checkpoint-restore/go-criu/v8 v8.0.0
	google.golang.org/protobuf v1.36.6
)

replace github.com/checkpoint-restore/go-criu/v8 => ../../bindings/go
