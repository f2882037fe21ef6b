#include "broker/broker.h"
#include "broker/options.h"

int main(int argc, char **argv)
{
    struct options options;

    options_parse(argc, argv, &options);
    return broker_run(&options);
}
