/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOADFS_VERSION_H
#define WLOADFS_VERSION_H

#define WLOAD_VERSION "0.1.0"

#endif
