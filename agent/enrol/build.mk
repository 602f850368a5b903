# enrolwire is what both ends of the socket share; enrol is the agent's end.
$(eval $(call library,enrolwire,agent/enrol/frame.cpp,enrolpb,))
$(eval $(call library,enrol,$(filter-out agent/enrol/frame.cpp,$(wildcard agent/enrol/*.cpp)),enrolwire base,-lpthread))
