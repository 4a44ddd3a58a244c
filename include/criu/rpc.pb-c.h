/* The part of protobuf-c's view of rpc.proto that callbacks see; protobuf-c itself is not needed. */
#ifndef CRIU_RPC_PB_C_H
#define CRIU_RPC_PB_C_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#ifndef PROTOBUF_C_H
struct ProtobufCMessage {
	const void *descriptor;
	unsigned n_unknown_fields;
	void *unknown_fields;
};
typedef struct ProtobufCMessage ProtobufCMessage;
typedef int protobuf_c_boolean;
#endif

/* criu_notify: a stage of an operation. */
struct CriuNotify {
	ProtobufCMessage base;
	char *script;
	protobuf_c_boolean has_pid;
	int32_t pid;
};
typedef struct CriuNotify CriuNotify;

#ifdef __cplusplus
}
#endif

#endif
