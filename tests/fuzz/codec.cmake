foreach(property
    page_header_parse
    page_decode
    page_round_trip
    profile_parse
    lossy_page_decode
    rows_round_trip)
  sluice_fuzz(${property} ${property}.cc LINK sluice_codec codec_restamp)
endforeach()
