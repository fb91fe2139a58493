/* SPDX-License-Identifier: Apache-2.0 */
/* Formats a load's report. */

#include <inttypes.h>
#include <stdio.h>

#include "loader/cli/report.h"
#include "loader/cli/units.h"

#define UNUSED_SHOWN 5

static void json_text(struct text *text, const char *name, const char *value)
{
	text_printf(text, "  \"%s\": ", name);
	if (value)
		text_json_string(text, value);
	else
		text_printf(text, "null");
	text_printf(text, ",\n");
}

static void json_number(struct text *text, const char *name, uint64_t value)
{
	text_printf(text, "  \"%s\": %" PRIu64 ",\n", name, value);
}

static void json_unused(const struct wload_load *load, struct text *text)
{
	const char *name;

	text_printf(text, "  \"unused\": [");
	for (uint32_t i = 0; (name = wload_load_unused(load, i)) != NULL; i++) {
		text_printf(text, i ? ", " : "");
		text_json_string(text, name);
	}
	text_printf(text, "]\n");
}

void report_json(const struct wload_load *load, struct text *text)
{
	const struct wload_report *r = wload_load_report(load);

	text_printf(text, "{\n");
	json_text(text, "device", r->device);
	json_text(text, "family", r->family);
	json_number(text, "tp", r->tp);
	json_number(text, "rank", r->rank);
	json_number(text, "ep", r->ep);
	json_text(text, "layout", wload_layout_name(r->layout));
	json_text(text, "note", r->note);
	text_printf(text, "  \"mount\": %s,\n", r->mount ? "true" : "false");
	text_printf(text, "  \"claims\": %s,\n", r->claims ? "true" : "false");
	json_number(text, "tensors", r->tensors);
	json_number(text, "parameters", r->parameters);
	json_number(text, "bytes_read", r->bytes_read);
	json_number(text, "bytes_direct", r->bytes_direct);
	json_number(text, "bytes_uploaded", r->bytes_uploaded);
	json_number(text, "bytes_verified", r->bytes_verified);
	json_number(text, "verify_every", r->verify_every);
	text_printf(text, "  \"seconds\": %.6f,\n", r->seconds);
	text_printf(text, "  \"bytes_per_second\": %.1f,\n", r->bytes_per_second);
	json_number(text, "peak_host_bytes", r->peak_host_bytes);
	if (r->cgroup_peak_bytes)
		json_number(text, "cgroup_peak_bytes", r->cgroup_peak_bytes);
	json_number(text, "consumed_tensors", r->consumed_tensors);
	json_number(text, "consumed_bytes", r->consumed_bytes);
	json_number(text, "checkpoint_bytes", r->checkpoint_bytes);
	json_number(text, "unused_tensors", r->unused_tensors);
	json_unused(load, text);
	text_printf(text, "}\n");
}

static const char *plural(uint64_t n)
{
	return n == 1 ? "" : "s";
}

static void summary_bytes(const struct wload_report *r, struct text *text)
{
	char bytes[UNITS_MAX], rate[UNITS_MAX], seconds[UNITS_MAX];

	units_bytes(r->bytes_read, bytes);
	units_bytes((uint64_t)r->bytes_per_second, rate);
	units_seconds(r->seconds, seconds);
	text_printf(text, "  read      %" PRIu64 " tensor%s, %s in %s, %s/s", r->tensors,
		    plural(r->tensors), bytes, seconds, rate);
	if (r->bytes_direct) {
		units_bytes(r->bytes_direct, bytes);
		text_printf(text, "; %s past the page cache", bytes);
	}
	text_printf(text, "\n");
	units_bytes(r->bytes_uploaded, bytes);
	text_printf(text, "  made      %" PRIu64 " parameter%s, %s, rules: %s", r->parameters,
		    plural(r->parameters), bytes, r->family);
	if (r->tp > 1)
		text_printf(text, ", rank %" PRIu32 " of %" PRIu32, r->rank, r->tp);
	if (r->ep > 1)
		text_printf(text, ", ep %" PRIu32, r->ep);
	text_printf(text, "\n");
	if (r->bytes_verified) {
		units_bytes(r->bytes_verified, bytes);
		text_printf(text, "  verified  %s", bytes);
		if (r->verify_every > 1)
			text_printf(text, ", one parameter of %" PRIu32, r->verify_every);
		text_printf(text, "\n");
	}
	units_bytes(r->peak_host_bytes, bytes);
	text_printf(text, "  host      %s at the peak", bytes);
	if (r->cgroup_peak_bytes) {
		units_bytes(r->cgroup_peak_bytes, bytes);
		text_printf(text, "; its cgroup's lifetime peak %s", bytes);
	}
	text_printf(text, "\n");
}

static void summary_consumed(const struct wload_report *r, const char *path, bool keep,
			     struct text *text)
{
	char bytes[UNITS_MAX];

	text_printf(text, "  consumed  ");
	if (!r->mount) {
		text_printf(text, "nothing: '");
		units_name(text, path);
		text_printf(text, "' is not a wloadfs mount\n");
	} else if (keep) {
		text_printf(text, "nothing: --no-consume\n");
	} else if (r->tp > 1 && !r->claims) {
		text_printf(text, "nothing: it is one rank of %" PRIu32 "\n", r->tp);
	} else {
		units_bytes(r->consumed_bytes, bytes);
		text_printf(text, "%" PRIu64 " tensor%s, %s%s\n", r->consumed_tensors,
			    plural(r->consumed_tensors), bytes,
			    r->claims ? ", for one rank of the mount" : "");
	}
}

static void summary_unused(const struct wload_load *load, struct text *text)
{
	const struct wload_report *r = wload_load_report(load);
	const char *name;

	if (!r->unused_tensors)
		return;
	text_printf(text, "  unused    %" PRIu64 " tensor%s:", r->unused_tensors,
		    plural(r->unused_tensors));
	for (uint32_t i = 0; i < UNUSED_SHOWN && (name = wload_load_unused(load, i)); i++) {
		text_printf(text, i ? ", " : " ");
		units_name(text, name);
	}
	text_printf(text, r->unused_tensors > UNUSED_SHOWN ? ", …\n" : "\n");
}

void report_summary(const struct wload_load *load, const char *path, bool keep, struct text *text)
{
	const struct wload_report *r = wload_load_report(load);

	text_printf(text, "loaded '");
	units_name(text, path);
	text_printf(text, "' to %s\n", r->device);
	summary_bytes(r, text);
	summary_consumed(r, path, keep, text);
	summary_unused(load, text);
	if (r->note) {
		text_printf(text, "  note      ");
		units_name(text, r->note);
		text_printf(text, "\n");
	}
}
