sluice_fuzz(log_parse log_parse.cc LINK sluice_store)
sluice_fuzz(log_recover log_recover.cc LINK sluice_sim)
