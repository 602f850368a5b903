/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * What weft-relay understands on its unix socket (SOCK_SEQPACKET): one request is one message, one answer is one
 * message. Numbers are in host order, both ends run on one machine. Requests are answered in their order; an
 * event may come in between. A connection's two descriptors travel with WEFT_RELAY_HAND_OVER as SCM_RIGHTS, first the
 * application's side, then the peer's; whoever hands over closes its own copies once the answer says WEFT_RELAY_OK, and
 * keeps the connection otherwise.
 *
 * Whoever hands something over may put a label behind the request: bytes that mean something to him only, and that the
 * relay gives back in its list, so that a new agent knows what the one before it has left here.
 */
#ifndef WEFT_KTLS_RELAY_PROTOCOL_H
#define WEFT_KTLS_RELAY_PROTOCOL_H

#include <linux/types.h>

#define WEFT_RELAY_PROTOCOL 1
#define WEFT_RELAY_VERSION_LENGTH 32
/* Bytes of a label at most. */
#define WEFT_RELAY_LABEL 640
/* Bytes of the longest answer; the one to WEFT_RELAY_LIST holds as many entries and labels as fit. */
#define WEFT_RELAY_ANSWER 32768
/* Each call that moves bytes of key_limit counts for so many at least: a short record wears a key as much as a full
 * one. */
#define WEFT_RELAY_LEAST_SPENT 4096

/* weft_relay_request.op, repeated in weft_relay_answer.op. */
enum {
	WEFT_RELAY_HELLO = 1,     /* how are you: answered by weft_relay_info */
	WEFT_RELAY_HAND_OVER = 2, /* carry this connection */
	WEFT_RELAY_LIST = 3,      /* connections from `cursor` on; with an id only that one */
	WEFT_RELAY_CLOSE = 4,     /* reset a connection now, as after a revocation */
	WEFT_RELAY_WATCH = 5,     /* send events to this client from now on, beginning with those that nobody got */
	WEFT_RELAY_UPGRADE = 6,   /* go on as the program that is installed now; answered by the new one */
	WEFT_RELAY_HOLD = 7,      /* stop sending to the peer, to change keys: answered with the peer's descriptor */
	WEFT_RELAY_GO_ON = 8,     /* the keys are changed */
	WEFT_RELAY_KEEP =
		9, /* hold this one socket, touched by nobody, until it is dropped by WEFT_RELAY_CLOSE or by a
	              hand-over of the same id; replaces what was kept under that id. Answered only when refused */
	WEFT_RELAY_FETCH = 10,  /* a kept socket: answered with its descriptor; it stays kept */
	WEFT_RELAY_EVENT = 128, /* only from the relay: a weft_relay_entry that has something to say */
};

/* weft_relay_answer.status */
enum {
	WEFT_RELAY_OK = 0,
	WEFT_RELAY_BAD_REQUEST = 1,  /* version, op, or not two connected TCP sockets */
	WEFT_RELAY_NO_ROOM = 2,      /* descriptors are exhausted: old connections are not disturbed */
	WEFT_RELAY_UNKNOWN_ID = 3,   /* no such connection, or it has ended */
	WEFT_RELAY_NOT_ACCEPTED = 4, /* the installed program cannot take over, the running one goes on */
	WEFT_RELAY_BUSY = 5,         /* the connection is held already */
};

/* weft_relay_request.flags of WEFT_RELAY_HAND_OVER, kept in weft_relay_entry.flags. */
enum {
	WEFT_RELAY_PEER_TLS = 1 << 0,   /* the peer's socket is a kTLS socket with both keys */
	WEFT_RELAY_APP_TLS = 1 << 1,    /* the same for the application's side */
	WEFT_RELAY_REKEY = 1 << 2,      /* a KeyUpdate of the peer is an event to be answered, not an end */
	WEFT_RELAY_LIMIT_CLOSE = 1 << 3 /* end the connection at key_limit; otherwise only say so */
};

/* weft_relay_request.flags of WEFT_RELAY_GO_ON: keys that are new, and begin to count anew; and `detail` of the event
   that says which keys have reached key_limit */
enum {
	WEFT_RELAY_NEW_SEND_KEY = 1 << 0,
	WEFT_RELAY_NEW_RECEIVE_KEY = 1 << 1,
};

/* weft_relay_entry.state */
enum {
	WEFT_RELAY_CARRIED = 1,
	WEFT_RELAY_ENDED = 2,
	WEFT_RELAY_KEPT = 3,
};

/* weft_relay_entry.reason of one that has ended, or of an event about a living one. */
#define WEFT_RELAY_REASONS(X)                                                                                      \
	X(WEFT_RELAY_REASON_NONE, "none")             /* nothing to say */                                         \
	X(WEFT_RELAY_REASON_FINISHED, "finished")     /* both sides ended in order */                              \
	X(WEFT_RELAY_REASON_APP_RESET, "app-reset")   /* the application's socket broke */                         \
	X(WEFT_RELAY_REASON_PEER_RESET, "peer-reset") /* the peer's socket broke */                                \
	X(WEFT_RELAY_REASON_TRUNCATED, "truncated")   /* FIN without close_notify: the application gets a reset */ \
	X(WEFT_RELAY_REASON_PEER_ALERT, "peer-alert") /* the peer sent a fatal alert, see `detail` */              \
	X(WEFT_RELAY_REASON_BAD_RECORD, "bad-record") /* a record that does not decrypt, or of a wrong kind */     \
	X(WEFT_RELAY_REASON_KEY_UPDATE,                                                                            \
	  "key-update") /* the peer changed keys; living: hold it; detail 1: it wants ours, too */                 \
	X(WEFT_RELAY_REASON_KEY_LIMIT, "key-limit")     /* key_limit bytes went one way under one key */           \
	X(WEFT_RELAY_REASON_REQUESTED, "requested")     /* WEFT_RELAY_CLOSE */                                     \
	X(WEFT_RELAY_REASON_RELAY_ERROR, "relay-error") /* a system call failed that should not, see `detail` */

enum {
#define WEFT_RELAY_REASON_ENUMERATOR(name, word) name,
	WEFT_RELAY_REASONS(WEFT_RELAY_REASON_ENUMERATOR)
#undef WEFT_RELAY_REASON_ENUMERATOR
};

struct weft_relay_request {
	__u16 version; /* WEFT_RELAY_PROTOCOL */
	__u16 op;
	__u32 flags;
	__u64 id;        /* names the connection from then on; chosen by whoever hands over */
	__u64 key_limit; /* bytes that one direction may carry under one key, see WEFT_RELAY_LEAST_SPENT; 0: no limit */
	__u32 cursor;    /* WEFT_RELAY_LIST: 0, then `cursor` of the last answer */
	__u32 pad;
	/* the rest of the message is the label of WEFT_RELAY_HAND_OVER and WEFT_RELAY_KEEP */
};

struct weft_relay_entry {
	__u64 id;
	__u64 to_peer;    /* bytes delivered to the peer; a killed child may leave its last call uncounted */
	__u64 to_app;     /* bytes delivered to the application */
	__u64 started_ns; /* CLOCK_BOOTTIME */
	__u32 flags;
	__u16 state;
	__u16 reason;
	__u32 detail;    /* errno or number of the alert */
	__u8 app_ended;  /* the application sends no more */
	__u8 peer_ended; /* the peer sends no more */
	__u8 held;       /* sending to the peer is stopped */
	__u8 pad;
	__u32 label_size; /* bytes of the label that follows, in answers to WEFT_RELAY_LIST only, padded to 8 */
	__u32 pad2;
};

struct weft_relay_answer {
	__u16 version;
	__u16 op;
	__u16 status;
	__u16 count;  /* entries that follow */
	__u32 cursor; /* WEFT_RELAY_LIST: where to go on; 0: that was all */
	__u32 pad;
	__u64 id;
};

/* The answer to WEFT_RELAY_LIST, and an event (count 1): `count` entries follow the head, each with its label. */

struct weft_relay_info {
	struct weft_relay_answer head;
	__u32 parent_pid;
	__u32 child_pid;
	__u32 connections;
	__u32 room;         /* connections that can be carried at most */
	__u32 pipes_made;   /* of the pool, in use or not */
	__u32 pipes_used;   /* data is in flight in them */
	__u32 child_deaths; /* children that were replaced since the start */
	__u32 upgrades;
	__u64 accepted;
	__u64 refused;     /* for want of room */
	__u64 events_lost; /* nobody watched for too long */
	__u32 kept;        /* sockets that are only kept */
	__u32 pad;
	char program_version[WEFT_RELAY_VERSION_LENGTH];
};

#endif
