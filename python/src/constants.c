/* SPDX-License-Identifier: MIT
 *
 * The constants of the module. Numbers of events and of protocols that come with later versions are there already:
 * programs import them by name, and no event carries them until then. */
#include "module.h"

#include "tavi/log.h"

static const struct constant {
  const char *name;
  int value;
} constants[] = {
    {"MG_EV_ERROR", MG_EV_ERROR},
    {"MG_EV_OPEN", MG_EV_OPEN},
    {"MG_EV_POLL", MG_EV_POLL},
    {"MG_EV_RESOLVE", MG_EV_RESOLVE},
    {"MG_EV_CONNECT", MG_EV_CONNECT},
    {"MG_EV_ACCEPT", MG_EV_ACCEPT},
    {"MG_EV_TLS_HS", MG_EV_TLS_HS},
    {"MG_EV_READ", MG_EV_READ},
    {"MG_EV_WRITE", MG_EV_WRITE},
    {"MG_EV_CLOSE", MG_EV_CLOSE},
    {"MG_EV_HTTP_HDRS", MG_EV_HTTP_HDRS},
    {"MG_EV_HTTP_MSG", MG_EV_HTTP_MSG},
    {"MG_EV_WS_OPEN", MG_EV_WS_OPEN},
    {"MG_EV_WS_MSG", MG_EV_WS_MSG},
    {"MG_EV_WS_CTL", MG_EV_WS_CTL},
    {"MG_EV_MQTT_CMD", MG_EV_MQTT_CMD},
    {"MG_EV_MQTT_MSG", MG_EV_MQTT_MSG},
    {"MG_EV_MQTT_OPEN", MG_EV_MQTT_OPEN},
    {"MG_EV_SNTP_TIME", MG_EV_SNTP_TIME},
    {"MG_EV_WAKEUP", MG_EV_WAKEUP},
    {"MG_EV_USER", MG_EV_USER},

    {"WEBSOCKET_OP_TEXT", 1},
    {"WEBSOCKET_OP_BINARY", 2},
    {"WEBSOCKET_OP_PING", 9},
    {"WEBSOCKET_OP_PONG", 10},

    {"MG_LL_NONE", TAVI_LOG_NONE},
    {"MG_LL_ERROR", TAVI_LOG_ERROR},
    {"MG_LL_INFO", TAVI_LOG_INFO},
    {"MG_LL_DEBUG", TAVI_LOG_DEBUG},
    {"MG_LL_VERBOSE", 4},

    {"MQTT_PROP_TYPE_BYTE", 0},
    {"MQTT_PROP_TYPE_STRING", 1},
    {"MQTT_PROP_TYPE_STRING_PAIR", 2},
    {"MQTT_PROP_TYPE_BINARY_DATA", 3},
    {"MQTT_PROP_TYPE_VARIABLE_INT", 4},
    {"MQTT_PROP_TYPE_INT", 5},
    {"MQTT_PROP_TYPE_SHORT", 6},
};

int tavi_py_constants_setup(PyObject *module) {
  for (size_t i = 0; i < sizeof constants / sizeof constants[0]; i++) {
    if (PyModule_AddIntConstant(module, constants[i].name, constants[i].value) < 0)
      return -1;
  }
  return 0;
}
