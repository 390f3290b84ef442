sluice_fuzz(frame_parse frame_parse.cc LINK sluice_transport)
sluice_fuzz(message_parse message_parse.cc LINK sluice_transport)
sluice_fuzz(session_bytes session_bytes.cc LINK sluice_transport)
