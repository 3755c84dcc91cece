
evt_01KG8Q2Y00000000000000000Alictor.container.assigned.v1license-central"	subject-1(0:€σωΪB700-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01H›ξς
130-4823901234	Nova GmbH