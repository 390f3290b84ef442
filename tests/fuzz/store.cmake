sluice_fuzz(log_parse log_parse.cc LINK sluice_store)
