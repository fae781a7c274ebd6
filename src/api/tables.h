// SPDX-License-Identifier: Apache-2.0
// The tables of the configurations, for those that embed them. Inside this module only.
#ifndef DBK_API_TABLES_H
#define DBK_API_TABLES_H

#include "api/object.h"

extern const dbk_api_object dbk_api_stream_config_object;
extern const dbk_api_object dbk_api_consumer_config_object;
extern const dbk_api_object dbk_api_subject_transform_object;

/// What metadata counts for its limit: names and values, without what a server adds.
size_t dbk_api_metadata_size(const dbk_api_metadata *metadata);
enum {
    DBK_API_DESCRIPTION_SIZE_MAX = 4096,
    DBK_API_METADATA_SIZE_MAX = 128 * 1024,
    DBK_API_ATTRIBUTES_SIZE_MAX = 192 * 1024
};

#endif
