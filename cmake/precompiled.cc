// A target needs a source; what is precompiled stands in sluice.cmake.
