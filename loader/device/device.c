/* SPDX-License-Identifier: Apache-2.0 */
/* Which devices this build has, and what a user's device name means. */

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "loader/device/device.h"

static const struct device_ops *const devices[] = {
#if WLOAD_HAVE_CUDA
	&device_cuda,
#endif
	&device_host,
	&device_null,
};

static const struct device_ops *find(const char *name, size_t name_len)
{
	for (size_t i = 0; i < sizeof(devices) / sizeof(devices[0]); i++)
		if (strlen(devices[i]->name) == name_len &&
		    memcmp(devices[i]->name, name, name_len) == 0)
			return devices[i];
	return NULL;
}

/* Reads the N of "cuda:N". */
static int parse_ordinal(const char *text, int *ret_ordinal)
{
	char *end;
	long n;

	if (*text < '0' || *text > '9')
		return -EINVAL;
	errno = 0;
	n = strtol(text, &end, 10);
	if (errno || *end || n > INT_MAX)
		return -EINVAL;
	*ret_ordinal = (int)n;
	return 0;
}

static int choose_automatic(struct device_choice *ret_choice)
{
	const struct device_ops *cuda = find("cuda", 4);

	ret_choice->ops = cuda ? cuda : &device_host;
	ret_choice->ordinal = 0;
	ret_choice->automatic = true;
	return 0;
}

int device_choose(const char *name, struct device_choice *ret_choice, struct wload_error *err)
{
	const struct device_ops *ops;
	const char *colon;
	int ordinal = 0;

	if (!name || strcmp(name, "auto") == 0)
		return choose_automatic(ret_choice);
	colon = strchr(name, ':');
	ops = find(name, colon ? (size_t)(colon - name) : strlen(name));
	if (!ops && strncmp(name, "cuda", 4) == 0 && (name[4] == ':' || !name[4]))
		return wload_fail(err, ENODEV, "device '%s': this build has no CUDA", name);
	if (!ops || (colon && ops->kind != WLOAD_DEVICE_CUDA) ||
	    (colon && parse_ordinal(colon + 1, &ordinal) < 0))
		return wload_fail(err, EINVAL,
				  "device '%s' is none of auto, cuda, cuda:N, host, null", name);
	ret_choice->ops = ops;
	ret_choice->ordinal = ordinal;
	ret_choice->automatic = false;
	return 0;
}

int device_open(const struct device_choice *choice, struct device **ret_device,
		struct wload_error *err)
{
	struct wload_error why = {0}; /* that no GPU answers is no failure of "auto" */
	int r = choice->ops->open(choice->ordinal, ret_device, &why);

	if (r == -ENODEV && choice->automatic && choice->ops != &device_host)
		return device_host.open(0, ret_device, err);
	return r < 0 ? wload_fail(err, -r, "%s", why.text) : 0;
}

void device_close(struct device *device)
{
	if (device)
		device->ops->close(device);
}

void device_run_near(const struct device *device)
{
	if (device->cpus_known)
		(void)sched_setaffinity(0, sizeof(device->cpus), &device->cpus);
}
