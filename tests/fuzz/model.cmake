foreach(property gguf_parse descriptor_parse llama_state_parse llama_slot_parse)
  sluice_fuzz(${property} ${property}.cc LINK sluice_model)
endforeach()
