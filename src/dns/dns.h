/* SPDX-License-Identifier: MIT
 *
 * The resolver of names: c-ares on the loop of a manager, with a cache in front of it. */
#ifndef TAVI_DNS_DNS_H
#define TAVI_DNS_DNS_H

struct tavi_manager;

/* Make it the manager's resolver. Nothing else happens before the first name is asked for.
 * Returns 0, or TAVI_E_ARG when opts.dns_servers is malformed. */
int tavi__dns_install(struct tavi_manager *m);

#endif
