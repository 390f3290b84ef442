sluice_fuzz(c_abi c_abi.cc LINK sluice sluice_daemon GTest::gtest)
