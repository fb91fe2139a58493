/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOAD_WAY_H
#define WLOAD_WAY_H

/* Which way to read a range of a shard, by what is true of it now. Pure. */

#include <stdbool.h>
#include <stdint.h>

#include "wloadfs/loader.h"

enum way {
	WAY_CACHED, /* out of the page cache; what is not there stays in it */
	WAY_DROP,   /* through the page cache, which keeps nothing that it did not have */
	WAY_DIRECT, /* from the disk into the staging (O_DIRECT) */
};

struct way_facts {
	enum wload_io asked;
	bool direct;	   /* the shard's filesystem does O_DIRECT */
	bool known;	   /* how much is cached could be asked */
	uint64_t pages;	   /* of the range, those it touches partly counted */
	uint64_t resident; /* of these, cached; when known */
};

/* Cached bytes cost a copy, others the disk: a range that is cached whole is copied, one that is
 * not comes from the disk directly. Of one that is mostly cached the disk would deliver again what
 * is there; the page cache reads what is missing. What can't be asked is taken for uncached. */
enum way way_choose(const struct way_facts *facts);

/* Rows of pieces: is what lies between them read too, in one read?
 *
 * piece, stride  bytes
 *
 * Returns true when the gaps cost less than a read a piece. */
bool way_reads_gaps(enum way way, uint64_t piece, uint64_t stride);

#endif
