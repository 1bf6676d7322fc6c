/* What `help` says of the commands about the cluster; apart, because the table has its limits. */
#ifndef PV_CMD_CLUSTER_HELP_H
#define PV_CMD_CLUSTER_HELP_H

extern const char pv_where_details[], pv_where_json[], pv_where_examples[];
extern const char pv_status_details[], pv_status_json[], pv_status_examples[];
extern const char pv_peers_details[], pv_peers_json[];
extern const char pv_peers_allow_details[];
extern const char pv_peers_drain_details[];

#endif
