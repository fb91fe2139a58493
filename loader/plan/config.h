/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOAD_PLAN_CONFIG_H
#define WLOAD_PLAN_CONFIG_H

/* What a plan asks a checkpoint's config.json: the model's type, flags and numbers that rules name.
 * A multimodal model holds those of its language model in "text_config". */

#include <stdbool.h>
#include <stdint.h>

#include "wloadfs/error.h"

struct config; /* NULL stands for a config that says nothing */

/* Parses config.json's text; text NULL gives NULL.
 *
 * Returns 0, -EBADMSG when it is not a JSON object, -E2BIG, -ENOMEM. */
int config_parse(const char *text, struct config **ret_config, struct wload_error *err);

void config_free(struct config *config);

/* "model_type", else "text_config"."model_type", else NULL. Borrowed. */
const char *config_model_type(const struct config *config);

/* The truth, as Python sees it, of member `key`, else of "text_config".key, else fallback. */
bool config_flag(const struct config *config, const char *key, bool fallback);

/* Member `key`, else of "text_config".key, as a count of at least one.
 *
 * ret_count  0: neither has it, or it is null
 *
 * Returns false when it is there and no whole number from 1 to 2^32 - 1. */
bool config_count(const struct config *config, const char *key, uint64_t *ret_count);

#endif
