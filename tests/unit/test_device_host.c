/* SPDX-License-Identifier: Apache-2.0 */
/* loader/device: which device a name means, and what host and null promise. */

#include <errno.h>
#include <string.h>

#include "loader/device/device.h"
#include "tap.h"

static const struct row {
	const char *name;
	int want;
	enum wload_device_kind kind;
	int ordinal;
} rows[] = {
	{"host", 0, WLOAD_DEVICE_HOST, 0},
	{"null", 0, WLOAD_DEVICE_NULL, 0},
	{"", -EINVAL, 0, 0},
	{"Host", -EINVAL, 0, 0},
	{"host:0", -EINVAL, 0, 0},
	{"null:1", -EINVAL, 0, 0},
	{"hosts", -EINVAL, 0, 0},
	{"cud", -EINVAL, 0, 0},
	{"cudax", -EINVAL, 0, 0},
	{"gpu", -EINVAL, 0, 0},
};

/* In a build without CUDA all of these are -ENODEV. */
static const struct row cuda_rows[] = {
	{"cuda", 0, WLOAD_DEVICE_CUDA, 0}, {"cuda:3", 0, WLOAD_DEVICE_CUDA, 3},
	{"cuda:", -EINVAL, 0, 0},	   {"cuda:-1", -EINVAL, 0, 0},
	{"cuda:1x", -EINVAL, 0, 0},	   {"cuda:99999999999", -EINVAL, 0, 0},
};

static void check_name(struct tap *tap, const struct row *row, bool may_lack)
{
	struct device_choice choice = {0};
	struct wload_error err = {0};
	int r = device_choose(row->name, &choice, &err);

	ok(tap,
	   (may_lack && r == -ENODEV) ||
		   (r == row->want &&
		    (r < 0 || (choice.ops->kind == row->kind && choice.ordinal == row->ordinal &&
			       !choice.automatic))),
	   "name: '%s' (%d)", row->name, r);
}

static bool round_trip(struct device *device, uint64_t bytes, bool transient)
{
	const struct device_ops *ops = device->ops;
	struct wload_error err = {0};
	struct device_queue *queue = NULL;
	uint8_t *staging = NULL, back[100];
	void *base = NULL;
	bool pass = ops->queue_open(device, 2, &queue, &err) == 0 &&
		    ops->staging_alloc(device, 4096, &staging, &err) == 0 &&
		    ops->alloc(device, bytes, transient, &base, &err) == 0;

	for (int i = 0; pass && i < 100; i++)
		staging[i] = (uint8_t)(i * 7);
	pass = pass && (uintptr_t)base % 256 == 0 &&
	       ops->copy_in(queue, base, bytes - 100, staging, 100, &err) == 0 &&
	       ops->mark(queue, 1, &err) == 0 && ops->wait(queue, 1, &err) == 0;
	if (pass && ops->keeps)
		pass = ops->copy_out(queue, back, base, bytes - 100, 100, &err) == 0 &&
		       memcmp(back, staging, 100) == 0;
	ops->queue_close(queue);
	ops->free(device, base, bytes, transient);
	ops->staging_free(device, staging, 4096);
	return pass;
}

static void check_device(struct tap *tap, const struct device_ops *ops)
{
	const struct device_choice choice = {.ops = ops};
	struct wload_error err = {0};
	struct device *device;
	uint64_t room = 0, total = 0;

	if (!ok(tap, device_open(&choice, &device, &err) == 0, "%s: opens", ops->name))
		return;
	ok(tap, strcmp(device->label, ops->name) == 0, "%s: says what it is", ops->name);
	ok(tap, ops->memory(device, &room, &total, &err) == 0 && room && room <= total,
	   "%s: has memory", ops->name);
	ok(tap, round_trip(device, 100, true), "%s: 100 bytes", ops->name);
	ok(tap, round_trip(device, (uint64_t)5 << 20, false), "%s: 5 MiB", ops->name);
	device_close(device);
}

int main(void)
{
	struct device_choice choice;
	struct wload_error err = {0};
	struct device *device = NULL;
	struct tap tap = {0};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		check_name(&tap, &rows[i], false);
	for (size_t i = 0; i < sizeof(cuda_rows) / sizeof(cuda_rows[0]); i++)
		check_name(&tap, &cuda_rows[i], true);
	check_device(&tap, &device_host);
	check_device(&tap, &device_null);
	ok(&tap, device_choose(NULL, &choice, &err) == 0 && choice.automatic, "auto: the default");
	ok(&tap, device_open(&choice, &device, &err) == 0 && device->ops->keeps,
	   "auto: always opens something that keeps (%s)", device ? device->label : err.text);
	device_close(device);
	device_close(NULL);
	return tap_done(&tap);
}
