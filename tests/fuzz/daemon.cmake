sluice_fuzz(config_parse config_parse.cc LINK sluice_daemon)
