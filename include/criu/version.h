/* The version of CRIU whose interface this library has. */
#ifndef CRIU_VERSION_H
#define CRIU_VERSION_H

#define CRIU_VERSION "4.2"
#define CRIU_VERSION_MAJOR 4
#define CRIU_VERSION_MINOR 2
#define CRIU_GITID "0"

#endif
