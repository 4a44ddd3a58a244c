/* rpc.proto for C, as protobuf-c 1.4 has it. Generated from libcriu/images/proto/rpc.proto; do not edit.
 *
 * libcriu holds the functions; protobuf-c itself is not needed, and used as it is if its header is there. */
#ifndef PROTOBUF_C_rpc_2eproto__INCLUDED
#define PROTOBUF_C_rpc_2eproto__INCLUDED

#include <limits.h>
#include <stddef.h>
#include <stdint.h>

#if !defined(PROTOBUF_C_H) && defined(__has_include)
#if __has_include(<protobuf-c/protobuf-c.h>)
#include <protobuf-c/protobuf-c.h>
#endif
#endif

#ifdef __cplusplus
extern "C" {
#endif

#ifndef PROTOBUF_C_H
typedef struct ProtobufCMessageDescriptor ProtobufCMessageDescriptor;
typedef struct ProtobufCEnumDescriptor ProtobufCEnumDescriptor;
typedef int protobuf_c_boolean;

/* A field that the message's type does not know. */
typedef struct ProtobufCMessageUnknownField {
	uint32_t tag;
	unsigned wire_type;
	size_t len;
	uint8_t *data;
} ProtobufCMessageUnknownField;

/* The head of every message. */
typedef struct ProtobufCMessage {
	const ProtobufCMessageDescriptor *descriptor;
	unsigned n_unknown_fields;
	ProtobufCMessageUnknownField *unknown_fields;
} ProtobufCMessage;

/* Where memory comes from; NULL in its place stands for malloc and free. */
typedef struct ProtobufCAllocator {
	void *(*alloc)(void *allocator_data, size_t size);
	void (*free)(void *allocator_data, void *pointer);
	void *allocator_data;
} ProtobufCAllocator;

/* Takes a packed message piece by piece. */
typedef struct ProtobufCBuffer ProtobufCBuffer;
struct ProtobufCBuffer {
	void (*append)(ProtobufCBuffer *buffer, size_t len, const uint8_t *data);
};

#define PROTOBUF_C_MESSAGE_INIT(descriptor) { descriptor, 0, NULL }
#define PROTOBUF_C__FORCE_ENUM_TO_BE_INT_SIZE(name) , _##name##_IS_INT_SIZE = INT_MAX
#endif

