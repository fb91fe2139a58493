/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOADFS_NODE_H
#define WLOADFS_NODE_H

/* Node ids: what a file is, said by its number.
 *
 *   63      48 47      40 39      32 31                0
 *   [   who   ][  kind   ][  life   ][      index      ]
 *
 * The root is FUSE's 1. Who is in whose tree it lies (claims.h): 0 the mount's, R + 1 that of
 * ranks/R/. The checkpoint's own files are one in all trees, so that all their opens share a
 * backing file; folders cannot be, and tensors are not, for each rank's names go by themselves. A
 * tensor is immutable and `restore` brings back the very same object, so
 * its id never changes its meaning: FORGET needs no bookkeeping, and there is no generation to
 * raise (with one, a name that another folder's dentry still holds would name a second inode, with
 * pages of its own to evict). tensors/NAME and modules/… share an id; npy/NAME.npy has its own.
 *
 * A folder that was removed is dead to the kernel for as long as somebody holds it, so one that
 * comes back is another: its life, 0 at first, is raised by rmdir (odd: removed) and by restore
 * (even). Of the checkpoint's own folders, which can't be removed, it is 1 where a rank's
 * checkpoint is made (plans.h) and this is the one that it is made from. */

#include <stdint.h>

enum node_kind {
	NODE_OWN = 1,  /* a file or folder of the checkpoint; index in struct own, 0 is the root */
	NODE_TENSORS,  /* the folder tensors/ */
	NODE_NPYS,     /* the folder npy/ */
	NODE_CONTROLS, /* the folder .wload/ */
	NODE_MODULE,   /* a folder below (0: of) modules/; index in struct modules */
	NODE_TENSOR,   /* raw bytes; index in the inventory */
	NODE_NPY,      /* the same with a NumPy header */
	NODE_CONTROL,  /* a file of .wload/; index is an enum control_file */
	NODE_RANKS,    /* the folder ranks/ */
	NODE_FUSED,    /* the folder fused/ */
	NODE_FUSED_FILE, /* a parameter; index in the plan of its tree */
	NODE_MADE,	 /* a file of a rank's checkpoint; index in struct made */
};

enum control_file {
	CONTROL_STATS,
	CONTROL_INDEX,
	CONTROL_LAYERS,
	CONTROL_METRICS,
	CONTROL_TRACE,
	CONTROL_TRACE_SUMMARY,
	CONTROL_CONSUME,
	CONTROL_FILE_COUNT
};

struct node {
	enum node_kind kind;
	uint32_t index;
	uint8_t life; /* of a folder; else 0 */
	uint16_t who; /* in whose tree */
};

#define NODE_ROOT_ID 1u

static inline uint64_t node_id(struct node node)
{
	if (node.kind == NODE_OWN && node.index == 0 && node.who == 0)
		return NODE_ROOT_ID;
	return (uint64_t)node.who << 48 | (uint64_t)node.kind << 40 | (uint64_t)node.life << 32 |
	       node.index;
}

/* Decodes an id that node_id() made; the kernel sends no others. */
static inline struct node node_from_id(uint64_t id)
{
	if (id == NODE_ROOT_ID)
		return (struct node){.kind = NODE_OWN};
	return (struct node){
		.kind = (enum node_kind)(id >> 40 & 0xff),
		.index = (uint32_t)id,
		.life = (uint8_t)(id >> 32),
		.who = (uint16_t)(id >> 48),
	};
}

#endif
