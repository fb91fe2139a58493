/* SPDX-License-Identifier: Apache-2.0 */
#include "loader/pipeline/pinned.h"

static void *make(void *arg)
{
	struct pinned *pinned = arg;

	pinned->code = pinned->device->ops->staging_alloc(pinned->device, pinned->bytes,
							  &pinned->base, &pinned->err);
	return NULL;
}

static void *make_near(void *arg)
{
	struct pinned *pinned = arg;

	device_run_near(pinned->device);
	return make(arg);
}

void pinned_begin(struct pinned *pinned, struct device *device, size_t bytes)
{
	*pinned = (struct pinned){.device = device, .bytes = bytes};
	pinned->running = pthread_create(&pinned->thread, NULL, make_near, pinned) == 0;
	if (!pinned->running)
		(void)make(pinned);
}

static void join(struct pinned *pinned)
{
	if (pinned->running)
		pthread_join(pinned->thread, NULL);
	pinned->running = false;
}

int pinned_wait(struct pinned *pinned, uint8_t **ret_base, struct wload_error *err)
{
	join(pinned);
	if (pinned->code < 0)
		return wload_fail(err, -pinned->code, "%s", pinned->err.text);
	*ret_base = pinned->base;
	return 0;
}

static void *drop(void *arg)
{
	struct pinned *pinned = arg;

	pinned->device->ops->staging_free(pinned->device, pinned->base, pinned->bytes);
	pinned->base = NULL;
	return NULL;
}

void pinned_drop(struct pinned *pinned)
{
	join(pinned);
	if (pinned->base)
		pinned->running = pthread_create(&pinned->thread, NULL, drop, pinned) == 0;
}

void pinned_close(struct pinned *pinned)
{
	join(pinned);
	if (pinned->base)
		(void)drop(pinned);
	*pinned = (struct pinned){0};
}
