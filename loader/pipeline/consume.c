/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>

#include "loader/pipeline/consume.h"

/* Shards are read past the mount, which then has to be told that they were. */
int consume_on_mount(void *ctx, const char *const *names, size_t name_count, bool read,
		     bool *ret_changed, struct wload_error *err)
{
	return (read ? wload_mark_loaded_each : wload_mark_consumed_each)(ctx, names, name_count,
									  ret_changed, err);
}

int consume_open(struct consume *consume, const struct wload_inventory *inv,
		 const struct wload_plan *plan, consume_teller tell, void *tell_ctx,
		 struct wload_error *err)
{
	uint32_t tensors = wload_inventory_count(inv);

	*consume = (struct consume){.inv = inv, .plan = plan, .tell = tell, .tell_ctx = tell_ctx};
	consume->left = calloc(tensors ? tensors : 1, sizeof(*consume->left));
	if (!consume->left)
		return wload_fail(err, ENOMEM, "no memory to count %u tensors", tensors);
	for (uint32_t p = 0; p < wload_plan_count(plan); p++) {
		const struct wload_param *param = wload_plan_param(plan, p);

		for (uint32_t s = 0; s < param->source_count; s++)
			consume->left[param->sources[s].tensor]++;
	}
	return 0;
}

void consume_close(struct consume *consume)
{
	free(consume->left);
	consume->left = NULL;
}

uint64_t consume_deadline_ns(const struct consume *consume)
{
	return consume->due ? consume->due_since_ns + CONSUME_WAIT_NS : 0;
}

static struct wload_tensor due_tensor(const struct consume *consume, size_t i)
{
	return wload_inventory_tensor(consume->inv, consume->tensors[i]);
}

/* Tensors of a shard are due mostly one behind the other, so few shards are asked twice. */
static int check_shards(const struct consume *consume, struct wload_error *err)
{
	uint32_t last = UINT32_MAX;
	int r = 0;

	for (size_t i = 0; r == 0 && consume->check && i < consume->due; i++) {
		uint32_t shard = due_tensor(consume, i).shard;

		if (shard != last)
			r = consume->check(consume->check_ctx, shard, err);
		last = shard;
	}
	return r;
}

static void count_changed(struct consume *consume, const bool *changed)
{
	for (size_t i = 0; i < consume->due; i++) {
		if (!changed[i])
			continue;
		if (consume->consumed_tensors)
			atomic_fetch_add(consume->consumed_tensors, 1);
		if (consume->consumed_bytes)
			atomic_fetch_add(consume->consumed_bytes, due_tensor(consume, i).bytes);
	}
}

int consume_flush(struct consume *consume, struct wload_error *err)
{
	bool changed[CONSUME_NAMES] = {0};
	int r;

	if (consume->due == 0)
		return 0;
	r = check_shards(consume, err);
	if (r == 0)
		r = consume->tell(consume->tell_ctx, consume->names, consume->due, !consume->unread,
				  changed, err);
	if (r < 0)
		return r;
	count_changed(consume, changed);
	consume->due = 0;
	consume->due_bytes = 0;
	return 0;
}

static int add_due(struct consume *consume, uint32_t tensor, uint64_t now_ns,
		   struct wload_error *err)
{
	struct wload_tensor t = wload_inventory_tensor(consume->inv, tensor);

	if (consume->due == 0)
		consume->due_since_ns = now_ns;
	consume->tensors[consume->due] = tensor;
	consume->names[consume->due++] = t.name;
	consume->due_bytes += t.bytes;
	if (consume->due < CONSUME_NAMES && consume->due_bytes < CONSUME_BYTES)
		return 0;
	return consume_flush(consume, err);
}

int consume_param(struct consume *consume, uint32_t param, uint64_t now_ns, struct wload_error *err)
{
	const struct wload_param *p = wload_plan_param(consume->plan, param);

	for (uint32_t s = 0; s < p->source_count; s++) {
		uint32_t tensor = p->sources[s].tensor;
		int r;

		if (--consume->left[tensor])
			continue;
		r = add_due(consume, tensor, now_ns, err);
		if (r < 0)
			return r;
	}
	if (consume->due && now_ns >= consume_deadline_ns(consume))
		return consume_flush(consume, err);
	return 0;
}

int consume_unused(struct consume *consume, uint64_t now_ns, struct wload_error *err)
{
	int r = consume_flush(consume, err);

	consume->unread = true;
	for (uint32_t t = 0; r == 0 && t < wload_inventory_count(consume->inv); t++)
		if (!wload_plan_uses(consume->plan, t))
			r = add_due(consume, t, now_ns, err);
	return r == 0 ? consume_flush(consume, err) : r;
}
